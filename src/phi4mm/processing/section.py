"""A part of a file, read as a file of its own."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import BinaryIO

_BLOCK = 2**20  # bytes searched at a time


class Section:
    """Ranges of a file, and bytes in front of them or between, as one file for libsndfile and PyAV.

    file    an open binary file, or another section
    pieces  bytes, or (start, end) within `file`; without any, the whole of it
    """

    def __init__(self, file: BinaryIO | Section, *pieces: bytes | tuple[int, int]) -> None:
        self._file = file
        self._starts: list[int] = []
        self._pieces: list[bytes | tuple[int, int]] = []
        self.size = self._at = 0
        for piece in pieces or ((0, file.seek(0, 2)),):
            length = len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
            if length > 0:
                self._starts.append(self.size)
                self._pieces.append(piece)
                self.size += length

    def tell(self) -> int:
        """The position of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a position. One before the start is answered by -1: a C library cannot be told by an exception."""
        at = offset + (0, self._at, self.size)[whence]
        if at < 0:
            return -1
        self._at = at
        return at

    def read(self, count: int = -1) -> bytes:
        """The next `count` bytes, fewer at the end."""
        end = self.size if count < 0 else min(self.size, self._at + count)
        found = []
        while self._at < end:
            index = bisect.bisect_right(self._starts, self._at) - 1
            piece, skip = self._pieces[index], self._at - self._starts[index]
            if isinstance(piece, bytes):
                data = piece[skip : skip + end - self._at]
            else:
                self._file.seek(piece[0] + skip)
                data = self._file.read(min(piece[1] - piece[0] - skip, end - self._at))
            if not data:  # the file was shortened meanwhile
                break
            found.append(data)
            self._at += len(data)
        return b"".join(found)

    def at(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset`, fewer at the end."""
        self._at = offset
        return self.read(count)

    def find_all(self, pattern: bytes, start: int = 0) -> Iterator[int]:
        """Positions of a pattern of a few bytes."""
        for offset in range(start, self.size, _BLOCK):
            block = self.at(offset, _BLOCK + len(pattern) - 1)
            found = block.find(pattern)
            while found >= 0:
                yield offset + found
                found = block.find(pattern, found + 1)
