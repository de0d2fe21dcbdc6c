"""Clients that send no end of a head, or read nothing, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from phi4mm.server import connection
from phi4mm.server.connection import MAX_HEAD, Connection
from phi4mm.server.errors import ApiError
from phi4mm.server.sse import EventStream

ENDED = threading.Event()  # the events of /stream were closed


async def _endless() -> AsyncGenerator[bytes, None]:
    try:
        while True:
            yield b"data: " + b"x" * 65536 + b"\n\n"
            await asyncio.sleep(0)
    finally:
        ENDED.set()


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/stream":
        await EventStream(b"data: 1\n\n", _endless(), asyncio.Event(), "req-1")(scope, receive, send)
        return
    await asyncio.sleep(1)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def address() -> Iterator[Any]:
    """A server whose every answer but /stream takes a second."""
    ENDED.clear()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            _app, http=Connection, ws="none", lifespan="off", log_config=None, timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()
        server.should_exit = True
        thread.join()


def _read_to_end(client: socket.socket) -> bytes:
    """What arrives until the server ends the connection; fails where it does not."""
    client.settimeout(10)
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(65536):
            received += data
    return received


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nx: ",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx: ",
    ],
)
def test_a_head_without_end_is_refused(address: Any, head: bytes) -> None:
    """253 MiB of one were taken, and no key was needed."""
    sent = 0
    with socket.create_connection(address) as client, contextlib.suppress(ConnectionError):
        client.sendall(head)
        while sent < 64 * 2**20:
            client.sendall(b"a" * 16384)
            sent += 16384
    assert sent < 64 * 2**20


def test_a_long_head_is_400(address: Any) -> None:
    """The client learns why."""
    with socket.create_connection(address) as client:
        client.sendall(b"GET / HTTP/1.1\r\nx: " + b"a" * (MAX_HEAD + 1))
        assert b"400" in _read_to_end(client).partition(b"\r\n")[0]


def test_a_long_body_is_no_long_head(address: Any) -> None:
    """Images are longer than a head may be."""
    body = b"a" * (4 * MAX_HEAD)
    with socket.create_connection(address) as client:
        client.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        client.settimeout(10)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nhost:"])
def test_a_head_that_does_not_come_ends_the_connection(
    address: Any, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """300 such connections were alive after 75 s. A request whose answer takes longer goes on."""
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.3)
    with socket.create_connection(address) as client, socket.create_connection(address) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        client.sendall(begun)
        assert _read_to_end(client) == b""
        slow.settimeout(10)
        assert slow.recv(65536).startswith(b"HTTP/1.1 200")


def test_one_connection_too_many_is_closed(address: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a bound the process would run out of files, and its own would not open."""
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 1)
    with socket.create_connection(address) as first:
        first.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        with socket.create_connection(address) as second:
            assert _read_to_end(second) == b""
        first.settimeout(10)
        assert first.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_client_that_does_not_read_is_left(address: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer kept pages and a connection for ever."""
    monkeypatch.setattr(connection, "SEND_SECONDS", 0.5)
    with socket.create_connection(address) as client:
        client.sendall(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
        assert ENDED.wait(10)
        _read_to_end(client)


def test_events_are_closed_before_the_last_one_is_sent() -> None:
    """A client that does not read that one would keep the answer running."""
    happened = []

    class Failing:
        """Events that fail."""

        def __aiter__(self) -> Failing:
            return self

        async def __anext__(self) -> bytes:
            raise ApiError(500, "it failed")

        async def aclose(self) -> None:
            happened.append("closed")

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        happened.append("error" if b"it failed" in message.get("body", b"") else "sent")

    async def run() -> None:
        await EventStream(b"data: 1\n\n", Failing(), asyncio.Event(), "req-1")({}, receive, send)  # type: ignore[arg-type]

    asyncio.run(run())
    assert happened[-3:] == ["closed", "error", "closed"]
