"""What surrounds every request: its id, the count of running ones, and the refusal of new ones while draining."""

from __future__ import annotations

import logging
import re
import secrets
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from phi4mm.server.access_log import log_request, route_of
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

        status = 499  # where nothing was sent: the client had left

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        if self._service.draining and scope["path"] not in OPEN_WHILE_DRAINING:
            await stopped().response(scope, receive, send_with_id)
            return
        scope["state"]["watch"] = self._service.metrics.watch(scope["state"])
        self._service.running += 1
        start = time.monotonic()
        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:  # it has been answered: Starlette raises again what it answers with 500
            log.error("request %s failed: %s", request_id, type(error).__name__)
        finally:
            self._service.running -= 1
            log_request(scope, status, time.monotonic() - start)
            self._service.metrics.answered.labels(route_of(scope), str(status)).inc()
