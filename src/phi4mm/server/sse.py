"""Server-sent events: an answer that is sent while it grows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from phi4mm.server.errors import ApiError, as_api_error
from phi4mm.server.waiting import ClientLeft, unless_left

DONE = b"data: [DONE]\n\n"


def event(value: object, name: str = "") -> bytes:
    """`value` as the data of an event."""
    data = b"data: " + msgspec.json.encode(value) + b"\n\n"
    return b"event: " + name.encode() + b"\n" + data if name else data


def error_event(error: ApiError) -> bytes:
    """An error in the form of chats."""
    return event(error.body)


async def begin(receive: Receive, stopping: asyncio.Event, events: AsyncGenerator[bytes, None]) -> bytes:
    """The first event. What goes wrong before it is an error with a status, not an event."""
    try:
        return await unless_left(receive, stopping, anext(events))
    except BaseException:
        await events.aclose()
        raise


class EventStream(Response):
    """Sends `first` and then `events`, and closes them when the client leaves or the server stops."""

    media_type = "text/event-stream"

    def __init__(
        self,
        first: bytes,
        events: AsyncGenerator[bytes, None],
        stopping: asyncio.Event,
        request_id: str,
        failed: Callable[[ApiError], bytes] = error_event,
    ) -> None:
        """`failed` makes the last event of a stream that fails."""
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._first, self._events, self._stopping, self._request_id = first, events, stopping, request_id
        self._failed = failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send everything; an error is the last event."""
        try:
            await unless_left(receive, self._stopping, self._send(send))
        except ClientLeft:
            return
        except Exception as error:
            await self._events.aclose()  # the engine goes on to nothing while the client reads
            last = self._failed(as_api_error(error, self._request_id))
            await send({"type": "http.response.body", "body": last, "more_body": False})
        finally:
            await self._events.aclose()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self._first, "more_body": True})
        async for each in self._events:
            await send({"type": "http.response.body", "body": each, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
