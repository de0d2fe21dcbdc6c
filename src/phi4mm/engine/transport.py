"""Messages between two processes over a socket: a pickle, and the bytes of large arrays in memory that both map.

Both ends are this program's own: nothing that came from outside is ever unpickled. A message is pickled with its large
buffers apart (pickle's protocol 5); those are written once into an anonymous file, whose descriptor goes along, and the
receiver's arrays are views of that file. It has no name, so nothing is left behind whoever dies.
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

LARGE = 2**16  # bytes from which a buffer goes apart
_HEAD = struct.Struct("<QQ")  # bytes of the pickle, number of buffers
_SIZE = struct.Struct("<Q")


class Unsendable(Exception):
    """A message could not be made ready to be sent."""


class Transport:
    """One end of a connection: one thread sends, one receives."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    def send(self, message: object) -> None:
        """Send one message whole. Raises Unsendable, with nothing sent, or OSError when the other end is gone."""
        try:
            head, file = self._packed(message)
        except Exception as error:  # what cannot be pickled, no memory, no descriptors: this message's fault alone
            raise Unsendable(f"{type(error).__name__}: {error}") from error
        with file or contextlib.nullcontext():
            self._socket.sendall(head)
            if file is not None:
                socket.send_fds(self._socket, [b"\0"], [file.fileno()])

    def _packed(self, message: object) -> tuple[bytes, IO[bytes] | None]:
        """What goes over the socket, and the file of large buffers."""
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
        """The next message; waits for it. Raises EOFError when the other end is gone."""
        body_size, count = _HEAD.unpack(self._exactly(_HEAD.size))
        sizes = [_SIZE.unpack(self._exactly(_SIZE.size))[0] for _ in range(count)]
        body = self._exactly(body_size)
        return pickle.loads(body, buffers=self._mapped(sizes) if sizes else ())

    def close(self, *, shut: bool = True) -> None:
        """Hang up; a `receive` that waits ends, and so does the other end. Without `shut`, only this copy is let go."""
        if shut:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _exactly(self, size: int) -> bytes:
        parts, missing = [], size
        while missing:
            try:
                part = self._socket.recv(min(missing, 2**20))
            except OSError as error:
                raise EOFError(str(error)) from error
            if not part:
                raise EOFError("the other end is gone")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _mapped(self, sizes: Sequence[int]) -> list[memoryview]:
        try:
            mark, descriptors, _, _ = socket.recv_fds(self._socket, 1, 1)
        except OSError as error:
            raise EOFError(str(error)) from error
        if not mark or not descriptors:
            raise EOFError("the other end is gone")
        try:
            whole = memoryview(mmap.mmap(descriptors[0], sum(sizes)))  # the arrays keep it alive
        finally:
            os.close(descriptors[0])
        ends = list(itertools.accumulate(sizes))
        return [whole[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def _shared_file(raws: Sequence[memoryview]) -> IO[bytes]:
    """An open file without a name that holds the buffers end to end, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        file: IO[bytes] = os.fdopen(os.memfd_create("phi4mm"), "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115  (the caller closes it)
    for raw in raws:
        file.write(raw)
    file.flush()
    return file
