"""Errors as OpenAI's clients read them: a status and {"error": {"message", "type", "param", "code"}}."""

from __future__ import annotations

import logging

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from phi4mm.errors import CapacityError, CheckpointError, ConfigError, InputError
from phi4mm.server.media_error import MediaError

RETRY_SECONDS = 1  # what a refused client is told to wait
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
log = logging.getLogger("phi4mm.server")


class ErrorDetail(msgspec.Struct, frozen=True):
    """What went wrong. `param` is the path of the field that is wrong, `code` a word for programs."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every answer that is no success."""

    error: ErrorDetail


class ApiError(Exception):
    """A request that is answered with an error. `message` is shown to the client, so it holds nothing of the server."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["retry-after"] = str(retry_after)

    @property
    def body(self) -> ErrorBody:
        """The body of the answer."""
        kind = TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return ErrorBody(ErrorDetail(self.message, kind, self.param, self.code))

    @property
    def response(self) -> Response:
        """The whole answer."""
        return json_response(self.body, self.status, self.headers)


def json_response(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`value`, a Struct or plain values, as JSON."""
    return Response(msgspec.json.encode(value), status, headers, "application/json")


def as_api_error(error: Exception, request_id: str) -> ApiError:
    """The answer to a request that failed with `error`. Texts of faults stay in the log."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, MediaError):
        return ApiError(error.status, error.message, param="messages", code="invalid_media")
    if isinstance(error, (InputError, ConfigError, CheckpointError)):
        return ApiError(400, str(error))
    if isinstance(error, CapacityError):
        return ApiError(429, str(error), code="queue_full", retry_after=RETRY_SECONDS)
    log.error("request %s failed", request_id, exc_info=error)
    return ApiError(500, f"request {request_id} failed inside the server; its log says why", code="internal_error")


async def error_response(request: Request, error: Exception) -> Response:
    """Starlette's handler of exceptions."""
    return as_api_error(error, request.state.request_id).response
