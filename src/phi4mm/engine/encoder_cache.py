"""Encoder rows kept for the prompts that need them: an LRU cache counted in rows. The values are opaque, no torch.

A medium is known by the SHA-256 digest of its processed array, which compares as the array itself would, an audio clip
also by the projection that its encoder output went through, and all by the weights that encoded them (their epoch).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from phi4mm.protocol.inputs import AudioProjection

T = TypeVar("T")
MediaKey: TypeAlias = tuple[bytes, str, AudioProjection | None, int]


@dataclass
class _Entry(Generic[T]):
    length: int
    holders: int = 0
    rows: T | None = None


class MediaCache(Generic[T]):
    """Encoder rows by key; those that a request holds stay, the others go when room is needed, the oldest first."""

    def __init__(self, capacity: int) -> None:
        """capacity: rows in all."""
        self.capacity = capacity
        self.used = 0
        self._entries: OrderedDict[MediaKey, _Entry[T]] = OrderedDict()

    @property
    def held(self) -> int:
        """Rows that requests hold."""
        return sum(entry.length for entry in self._entries.values() if entry.holders)

    def ready(self, key: MediaKey) -> bool:
        """Whether the rows are here."""
        return key in self._entries and self._entries[key].rows is not None

    def hold(self, key: MediaKey, length: int) -> None:
        """Keep the rows until `release`; makes room for them where they are not here yet."""
        entry = self._entries.get(key)
        if entry is None:
            self._make_room(length)
            entry = self._entries[key] = _Entry(length)
            self.used += length
        entry.holders += 1
        self._entries.move_to_end(key)

    def put(self, key: MediaKey, rows: T) -> None:
        """Fill in the rows of a held key."""
        self._entries[key].rows = rows

    def get(self, key: MediaKey) -> T:
        """The rows of a held key."""
        rows = self._entries[key].rows
        assert rows is not None, "a chunk needs encoder rows that were never made"
        return rows

    def release(self, key: MediaKey) -> None:
        """Give up one hold; rows that were never filled in are forgotten."""
        entry = self._entries[key]
        assert entry.holders > 0, "encoder rows are released and nobody holds them"
        entry.holders -= 1
        if entry.holders == 0 and entry.rows is None:
            self._drop(key)

    def clear(self) -> None:
        """Forget the rows that nobody holds."""
        for key in [key for key, entry in self._entries.items() if not entry.holders]:
            self._drop(key)

    def _make_room(self, length: int) -> None:
        idle = iter([key for key, entry in self._entries.items() if not entry.holders])
        while self.used + length > self.capacity:
            key = next(idle, None)
            # Held rows belong to tokens of held pages, and there are as many rows as tokens.
            assert key is not None, f"{length} encoder rows do not fit beside {self.held} held of {self.capacity}"
            self._drop(key)

    def _drop(self, key: MediaKey) -> None:
        self.used -= self._entries.pop(key).length
