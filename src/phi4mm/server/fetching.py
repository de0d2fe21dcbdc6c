"""Fetches one media item over HTTP from an allowed host, at an address that was checked.

h11 parses the answer and asyncio opens the connection: so the address that was checked is the one that is connected
to, which no client library promises, and a deadline or a client that leaves ends it at any await.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
import re
import socket
import ssl
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urljoin

import h11

from phi4mm.server.media_error import MediaError

HOST = r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*"
PORT = r"[0-9]{1,5}"
# Stricter than any client: no user name, backslash, space or control character, on which parsers disagree.
_URL = re.compile(rf"(https?)://({HOST})(?::({PORT}))?((?:[/?][!-\[\]-~]*)?)", re.ASCII | re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}
_REDIRECTS = (301, 302, 303, 307, 308)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# What `is_global` says of these differs between versions of Python.
_NOT_PUBLIC = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "64:ff9b:1::/48", "fec0::/10")))
_BLOCK = 65_536  # bytes read at a time
log = logging.getLogger("phi4mm.server")


@dataclass(frozen=True)
class Target:
    """Where a URL leads, taken apart once: what is checked is what is connected to."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> Target | None:
        """None for what is no plain HTTP URL; its fragment is left out."""
        match = _URL.fullmatch(url.partition("#")[0])
        if match is None:
            return None
        scheme, host, port, path = match.groups()
        path = path if path.startswith("/") else f"/{path}"
        number = int(port or _PORTS[scheme.lower()])
        return cls(scheme.lower(), host.lower(), number, path) if number < 2**16 else None

    @property
    def authority(self) -> str:
        """The host, with the port where it is not the scheme's own."""
        return self.host if self.port == _PORTS[self.scheme] else f"{self.host}:{self.port}"


async def fetch(url: str, *, allowed: Collection[str], limit: int, seconds: float, redirects: int) -> bytes:
    """The body of an answer, not decoded.

    allowed    hosts in small letters, as `host` or `host:port`; without a port, the scheme's own
    limit      bytes of the body
    seconds    for all, from resolving the name to the last byte, redirects included
    redirects  how many are followed; each target is checked like the first
    raises     MediaError, which names neither addresses nor what a library said
    """
    try:
        async with asyncio.timeout(seconds):
            for hop in range(redirects + 1):
                target = Target.of(url)
                if target is None or {target.authority, f"{target.host}:{target.port}"}.isdisjoint(allowed):
                    raise _redirected_away() if hop else _not_allowed(target)
                found = await _get(target, limit)
                if isinstance(found, bytes):
                    return found
                url = urljoin(url, found.location)
    except TimeoutError:
        raise MediaError(f"fetching it took more than {seconds:g} seconds", 422) from None
    raise MediaError(f"its URL redirects more than {redirects} times", 422)


def is_public(address: str) -> bool:
    """Whether anyone on the internet may have this IP address, also where it holds another one within it."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        if inner:
            return is_public(str(inner))
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or any(ip in network for network in _NOT_PUBLIC))


@dataclass(frozen=True)
class _Redirect:
    location: str


async def _get(target: Target, limit: int) -> bytes | _Redirect:
    try:
        reader, writer = await _connect(target)
        try:
            return await _exchange(target, reader, writer, limit)
        finally:
            writer.transport.abort()
    except (OSError, h11.RemoteProtocolError):  # of names, sockets, TLS and HTTP: what they say is not for the client
        raise _unreachable() from None


async def _connect(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to an address of the host: all that its name resolves to are public."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = [str(info[4][0]) for info in found]
    if not all(map(is_public, addresses)):
        log.warning("%s resolves to an address that is not public; nothing is fetched from it", target.host)
        raise _unreachable()
    secure = target.scheme == "https"
    context = await asyncio.to_thread(_tls) if secure else None
    for address in addresses[:-1]:
        try:
            return await _open(address, target, context)
        except OSError as error:
            log.debug("%s: one of its addresses does not answer (%s)", target.host, type(error).__name__)
    return await _open(addresses[-1], target, context)


async def _open(
    address: str, target: Target, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    name = target.host if context else None
    return await asyncio.open_connection(address, target.port, ssl=context, server_hostname=name)


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


async def _exchange(
    target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int
) -> bytes | _Redirect:
    connection = h11.Connection(h11.CLIENT)
    headers = [
        ("Host", target.authority),
        ("User-Agent", "phi4mm"),
        ("Accept-Encoding", "identity"),  # nothing is unpacked here, so that nothing can swell
        ("Connection", "close"),
    ]
    request = h11.Request(method="GET", target=target.path, headers=headers)
    writer.write((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
    body = bytearray()
    while not isinstance(event := await _next_event(connection, reader), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            if (redirect := _check_head(event, limit)) is not None:
                return redirect
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > limit:
                raise _too_large(limit)
    return bytes(body)


async def _next_event(connection: h11.Connection, reader: asyncio.StreamReader) -> object:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(_BLOCK))
    return event


def _check_head(response: h11.Response, limit: int) -> _Redirect | None:
    """Where it redirects to, if it does. Raises MediaError for an answer whose body is not the media item."""
    headers = dict(response.headers)
    if response.status_code in _REDIRECTS and b"location" in headers:
        return _Redirect(headers[b"location"].decode("latin-1"))
    if response.status_code != 200:
        raise MediaError(f"its host answered with status {response.status_code}", 422)
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise MediaError("its host sent it compressed, which was not asked for", 422)
    length = headers.get(b"content-length", b"0")  # h11 lets only digits pass
    if int(length) > limit:
        raise _too_large(limit)
    return None


def _too_large(limit: int) -> MediaError:
    return MediaError(f"it has more than the {limit} bytes that are left for it; send a smaller one", 413)


def _not_allowed(target: Target | None) -> MediaError:
    if target is None:
        return MediaError("its URL is not of the form http(s)://host/path in plain ASCII; send the data as a data URI")
    return MediaError("URLs of this host are not allowed here; send the data as a data URI")


def _redirected_away() -> MediaError:
    return MediaError("its URL redirects to where nothing is fetched from", 422)


def _unreachable() -> MediaError:
    return MediaError("it cannot be fetched from its host; send the data as a data URI", 422)
