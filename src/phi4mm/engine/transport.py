"""Messages between two processes over a socket: a pickle, and shared memory for the bytes of large arrays.

Both ends belong to this program: data from outside is never unpickled. Large buffers are left out of the pickle (pickle
protocol 5) and written once into an anonymous file. Its descriptor is sent along, and the receiver's arrays are views
of that file. It has no name, so nothing is left behind when a process dies.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import pickle
import socket
import struct
import tempfile
from collections.abc import Sequence
from typing import IO, Any

LARGE = 2**16  # buffers of at least so many bytes go into shared memory
_HEAD = struct.Struct("<QQ")  # bytes of the pickle, number of buffers
_SIZE = struct.Struct("<Q")


class Unsendable(Exception):
    """A message could not be prepared for sending."""


class Transport:
    """One end of a connection. One thread may send and one may receive."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    def send(self, message: object) -> None:
        """Send one message. Raises Unsendable when nothing was sent, OSError when the other end is closed."""
        try:
            head, file = self._pack(message)
        except Exception as error:  # not picklable, no memory, no descriptors: the connection is still good
            raise Unsendable(f"{type(error).__name__}: {error}") from error
        with file or contextlib.nullcontext():
            self._socket.sendall(head)
            if file is not None:
                socket.send_fds(self._socket, [b"\0"], [file.fileno()])

    def _pack(self, message: object) -> tuple[bytes, IO[bytes] | None]:
        """The bytes for the socket, and the file with the large buffers."""
        buffers: list[pickle.PickleBuffer] = []

        def keep_inside(buffer: pickle.PickleBuffer) -> bool:
            if buffer.raw().nbytes < LARGE:
                return True
            buffers.append(buffer)
            return False

        body = pickle.dumps(message, protocol=5, buffer_callback=keep_inside)
        raws = [buffer.raw() for buffer in buffers]
        sizes = b"".join(_SIZE.pack(raw.nbytes) for raw in raws)
        return _HEAD.pack(len(body), len(raws)) + sizes + body, _shared_file(raws) if raws else None

    def receive(self) -> Any:
        """The next message; waits for it. Raises EOFError when the other end is closed."""
        body_size, count = _HEAD.unpack(self._receive_exactly(_HEAD.size))
        sizes = [_SIZE.unpack(self._receive_exactly(_SIZE.size))[0] for _ in range(count)]
        body = self._receive_exactly(body_size)
        return pickle.loads(body, buffers=self._map_buffers(sizes) if sizes else ())

    def close(self, *, shut: bool = True) -> None:
        """Close the connection: `receive` raises EOFError at both ends. Without `shut`, close only this copy of it."""
        if shut:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _receive_exactly(self, size: int) -> bytes:
        parts, missing = [], size
        while missing:
            try:
                part = self._socket.recv(min(missing, 2**20))
            except OSError as error:
                raise EOFError(str(error)) from error
            if not part:
                raise EOFError("the other end is closed")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _map_buffers(self, sizes: Sequence[int]) -> list[memoryview]:
        try:
            byte, descriptors, _, _ = socket.recv_fds(self._socket, 1, 1)
        except OSError as error:
            raise EOFError(str(error)) from error
        if not byte or not descriptors:
            raise EOFError("the other end is closed")
        try:
            whole = memoryview(mmap.mmap(descriptors[0], sum(sizes)))  # the arrays keep it alive
        finally:
            os.close(descriptors[0])
        ends = list(itertools.accumulate(sizes))
        return [whole[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def _shared_file(raws: Sequence[memoryview]) -> IO[bytes]:
    """An open file without a name that contains the buffers one after the other; in memory where the system can."""
    if hasattr(os, "memfd_create"):
        file: IO[bytes] = os.fdopen(os.memfd_create("phi4mm"), "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115  (the caller closes it)
    for raw in raws:
        file.write(raw)
    file.flush()
    return file
