"""Routes of OpenAI's that are refused by name, so that a client does not take their absence for a wrong address."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from phi4mm.server.errors import ApiError

REFUSED_ROUTES = {
    "/v1/batches": "batches are not taken yet; send the requests side by side",
    "/v1/files": "files are not stored; send media inside a request",
    "/v1/embeddings": "the model makes no embeddings",
    "/v1/moderations": "this server has no moderation model",
    "/v1/images/generations": "the model answers in text",
    "/v1/audio/speech": "the model answers in text",
    "/v1/audio/transcriptions": "not yet; send input_audio to /v1/chat/completions",
    "/v1/audio/translations": "not yet; send input_audio to /v1/chat/completions",
    "/v1/realtime": "not yet; send input_audio to /v1/chat/completions",
    "/v1/assistants": "nothing is stored; use /v1/responses or /v1/chat/completions",
}


async def refuse(request: Request) -> Response:
    """501 with the reason."""
    path = request.scope["route"].path.removesuffix("/{rest:path}")
    raise ApiError(501, f"{path} is not supported: {REFUSED_ROUTES[path]}", code="unsupported_route")
