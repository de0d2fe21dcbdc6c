"""A client's connection, with bounds of what it may hold up: heads that do not end, and answers that nobody reads."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

MAX_CONNECTIONS = 800  # below the 1024 files that a process may commonly have open
MAX_HEAD = 64 * 1024  # bytes without an end of a head or a part of a body; one more read may come
HEAD_SECONDS = 20.0  # until the head of a request has arrived
SEND_SECONDS = 60.0  # that a client may take to read what was sent


class Connection(HttpToolsProtocol):
    """uvicorn's connection, which has no such bounds of its own."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, unless there are too many connections."""
        super().connection_made(transport)
        self._unended = 0
        self._unread: asyncio.TimerHandle | None = None
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
        else:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        """Parse, and count what leads to nothing: parts of a head, trailers, lengths of chunks."""
        self._unended += len(data)
        super().data_received(data)
        if self._unended > MAX_HEAD and not self.transport.is_closing():
            self.send_400_response(f"The head of the request has more than {MAX_HEAD} bytes.")

    def on_headers_complete(self) -> None:
        """The head has arrived."""
        self._unended = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body has arrived."""
        self._unended = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """The connection may send another request."""
        super().on_response_complete()
        self._await_head()

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._unread = self.loop.call_later(SEND_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def _await_head(self) -> None:
        self.loop.call_later(HEAD_SECONDS, self._end_without_head, self.cycle)

    def _end_without_head(self, before: RequestResponseCycle | None) -> None:
        if self.cycle is before and (before is None or before.response_complete):
            self.transport.abort()
