"""Server-sent events: an answer that is sent while it grows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from phi4mm.server.errors import ApiError, as_api_error
from phi4mm.server.waiting import ClientLeft, unless_left

SEND_SECONDS = 60.0  # that a client may take to read what was sent
DONE = b"data: [DONE]\n\n"


def event(value: object, name: str = "") -> bytes:
    """`value` as the data of an event."""
    data = b"data: " + msgspec.json.encode(value) + b"\n\n"
    return b"event: " + name.encode() + b"\n" + data if name else data


async def begin(receive: Receive, stopping: asyncio.Event, events: AsyncGenerator[bytes, None]) -> bytes:
    """The first event. What goes wrong before it is an error with a status, not an event."""
    try:
        return await unless_left(receive, stopping, anext(events))
    except BaseException:
        await events.aclose()
        raise


class EventStream(Response):
    """Sends `first` and then `events`, and closes them when the client leaves, does not read, or the server stops."""

    media_type = "text/event-stream"

    def __init__(
        self, first: bytes, events: AsyncGenerator[bytes, None], stopping: asyncio.Event, request_id: str
    ) -> None:
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._first, self._events, self._stopping, self._request_id = first, events, stopping, request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send everything; an error is the last event."""
        try:
            await unless_left(receive, self._stopping, self._send(send))
        except ClientLeft:
            return
        except Exception as error:
            last = event(as_api_error(error, self._request_id).body)
            await send({"type": "http.response.body", "body": last, "more_body": False})
        finally:
            await self._events.aclose()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await _body(send, self._first)
        async for each in self._events:
            await _body(send, each)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _body(send: Send, data: bytes) -> None:
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await send({"type": "http.response.body", "body": data, "more_body": True})
    except TimeoutError:
        raise ApiError(408, "the client did not read the answer") from None
