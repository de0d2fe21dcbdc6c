"""The ASGI application: which route is answered where."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from phi4mm.errors import PhiError
from phi4mm.server.access import Access
from phi4mm.server.context import RequestContext
from phi4mm.server.endpoints import ENDPOINTS
from phi4mm.server.errors import ApiError, error_response
from phi4mm.server.keys import Keys
from phi4mm.server.openapi import openapi
from phi4mm.server.page_files import PageFile, page_files
from phi4mm.server.refused_routes import REFUSED_ROUTES, refuse
from phi4mm.server.service import Service
from phi4mm.server.waiting import ClientLeft

ROUTES = [
    *(Route(each.path, each.handler, methods=[each.method]) for each in ENDPOINTS),
    Route("/openapi.json", openapi, methods=["GET"]),
    *(Route(path, refuse, methods=["GET", "POST"]) for path in REFUSED_ROUTES),
    *(Route(f"{path}/{{rest:path}}", refuse, methods=["GET", "POST", "DELETE"]) for path in REFUSED_ROUTES),
]


def make_app(service: Service, keys: Keys) -> ASGIApp:
    """The application over a service, which may still be loading."""
    page = page_files()
    app = Starlette(
        routes=[*ROUTES, *(Route(path, _page(file), methods=["GET"]) for path, file in page.items())],
        exception_handlers={
            HTTPException: _http_error,
            ClientLeft: _left,
            ApiError: error_response,
            PhiError: error_response,
            Exception: error_response,
        },
    )
    app.state.service = service
    checked: ASGIApp = Access(app, service.settings, keys, page)
    if service.settings.allowed_origins:
        checked = CORSMiddleware(
            checked,
            allow_origins=service.settings.allowed_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],  # clients send their own, such as x-stainless-lang and api-key; the origin decides
            expose_headers=["x-request-id", "retry-after"],
        )
    return RequestContext(checked, service)


def _page(file: PageFile) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        if request.headers.get("if-none-match") == file.headers["ETag"]:
            return Response(status_code=304, headers=file.headers)
        return Response(file.body, headers=file.headers)

    return answer


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    texts = {404: f"there is no route {request.url.path:.100}", 405: f"the route does not take {request.method:.20}"}
    return ApiError(
        error.status_code, texts.get(error.status_code, error.detail), headers=dict(error.headers or {})
    ).response


async def _left(request: Request, error: Exception) -> Response:
    """Nobody reads this; it only ends the request."""
    return Response(status_code=499)
