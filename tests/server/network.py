"""A network of tests: names and addresses as each test says, all of them served by one local server."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

Page: TypeAlias = "bytes | Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]"
ADDRESS = "93.184.216.34"


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A whole answer of HTTP."""
    lines = [f"HTTP/1.1 {status}", *(headers or (f"Content-Length: {len(body)}",))]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Network:
    """What `names` resolve to, one list of addresses after the other, and what was asked for and reached."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: dict[str, list[list[str]]] = {"media.example": [[ADDRESS]]}
        self.pages: dict[str, Page] = {}
        self.resolved: list[str] = []
        self.reached: list[tuple[str, int, str | None]] = []  # address, port, name of TLS
        self.requests: list[str] = []
        self.served = 0
        self.tls: ssl.SSLContext | None = None
        self._open = asyncio.open_connection
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)
        monkeypatch.setattr(asyncio, "open_connection", self._connect)

    async def run(self, work: Awaitable[Any]) -> Any:
        """Do the work while the server runs."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self._port = server.sockets[0].getsockname()[1]
        async with server:
            return await work

    def _getaddrinfo(self, host: str, port: int, *rest: object, **more: object) -> list[Any]:
        if host == "127.0.0.1":  # the server's own
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        self.resolved.append(host)
        if host not in self.names:
            raise socket.gaierror(-2, "Name or service not known")
        answers = self.names[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(0, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    async def _connect(self, address: str, port: int, **options: Any) -> Any:
        self.reached.append((address, port, options["server_hostname"]))
        if address != ADDRESS:
            raise ConnectionRefusedError
        return await self._open("127.0.0.1", self._port, **options)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(head)
            page = self.pages[head.split()[1]]
            if isinstance(page, bytes):
                writer.write(page)
                await writer.drain()
            else:
                await page(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left, as some tests want it to
        finally:
            self.served += 1
            writer.close()
