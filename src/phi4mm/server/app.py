"""The ASGI application: which route is answered where."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from phi4mm.errors import PhiError
from phi4mm.server import azure
from phi4mm.server.access import Access
from phi4mm.server.adapters import load_adapter, unload_adapter
from phi4mm.server.chat import chat_completions
from phi4mm.server.completions import completions
from phi4mm.server.context import RequestContext
from phi4mm.server.errors import ApiError, error_response
from phi4mm.server.health import health, version
from phi4mm.server.keys import Keys
from phi4mm.server.metrics import metrics
from phi4mm.server.models import model, models
from phi4mm.server.service import Service
from phi4mm.server.tokenization import detokenize, tokenize
from phi4mm.server.waiting import ClientLeft

ROUTES = [
    Route("/v1/chat/completions", chat_completions, methods=["POST"]),
    Route("/v1/completions", completions, methods=["POST"]),
    Route("/v1/models", models, methods=["GET"]),
    Route("/v1/models/{name:path}", model, methods=["GET"]),
    Route("/openai/deployments/{name}/chat/completions", azure.chat_completions, methods=["POST"]),
    Route("/v1/load_lora_adapter", load_adapter, methods=["POST"]),
    Route("/v1/unload_lora_adapter", unload_adapter, methods=["POST"]),
    Route("/tokenize", tokenize, methods=["POST"]),
    Route("/detokenize", detokenize, methods=["POST"]),
    Route("/metrics", metrics, methods=["GET"]),
    Route("/health", health, methods=["GET"]),
    Route("/version", version, methods=["GET"]),
]


def make_app(service: Service, keys: Keys) -> ASGIApp:
    """The application over a service, which may still be loading."""
    app = Starlette(
        routes=ROUTES,
        exception_handlers={
            HTTPException: _http_error,
            ClientLeft: _left,
            ApiError: error_response,
            PhiError: error_response,
            Exception: error_response,
        },
    )
    app.state.service = service
    checked: ASGIApp = Access(app, service.settings, keys, ())
    if service.settings.allowed_origins:
        checked = CORSMiddleware(
            checked,
            allow_origins=service.settings.allowed_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-request-id"],
            expose_headers=["x-request-id", "retry-after"],
        )
    return RequestContext(checked, service)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    texts = {404: f"there is no route {request.url.path:.100}", 405: f"the route does not take {request.method:.20}"}
    return ApiError(
        error.status_code, texts.get(error.status_code, error.detail), headers=dict(error.headers or {})
    ).response


async def _left(request: Request, error: Exception) -> Response:
    """Nobody reads this; it only ends the request."""
    return Response(status_code=499)
