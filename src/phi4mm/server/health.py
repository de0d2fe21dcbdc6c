"""GET /health and /version."""

from __future__ import annotations

from importlib.metadata import version as installed

from starlette.requests import Request
from starlette.responses import Response

from phi4mm.server.errors import json_response
from phi4mm.server.service import RETRY_SECONDS, Service


async def health(request: Request) -> Response:
    """200 while the server takes requests, else 503: `loading`, `draining` or `closed`."""
    service: Service = request.app.state.service
    if service.state == "ready":
        return json_response({"status": "ready"})
    return json_response({"status": service.state}, 503, {"retry-after": str(RETRY_SECONDS)})


async def version(request: Request) -> Response:
    """The version of phi4mm."""
    return json_response({"version": installed("phi4mm")})
