"""What surrounds every request: its id, the count of running ones, and the refusal of new ones while draining."""

from __future__ import annotations

import logging
import re
import secrets
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from phi4mm.server.service import Service
from phi4mm.server.waiting import stopped

_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
OPEN_WHILE_DRAINING = ("/health", "/metrics", "/version")
log = logging.getLogger("phi4mm.server")


class RequestContext:
    """The outermost ASGI application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request. Its id is the client's `x-request-id` where that is a plain word."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
        request_id = given if _ID.fullmatch(given) else f"req-{secrets.token_hex(12)}"
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        if self._service.draining and scope["path"] not in OPEN_WHILE_DRAINING:
            await stopped().response(scope, receive, send_with_id)
            return
        scope["state"]["watch"] = self._service.metrics.watch()
        self._service.running += 1
        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:  # it has been answered: Starlette raises again what it answers with 500
            log.error("request %s failed in %s", request_id, _place(error))
        finally:
            self._service.running -= 1


def _place(error: BaseException) -> Any:
    return type(error).__name__
