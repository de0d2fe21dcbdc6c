"""Encoder outputs kept for the prompts that need them: an LRU cache counted in tokens. The values are opaque, no torch.

The key of a media item is the SHA-256 digest of its processed array, the projection of an audio clip, and the version
of the weights that encoded it.
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
    tokens: int
    holders: int = 0
    output: T | None = None


class EncoderCache(Generic[T]):
    """Encoder outputs by key; those that a request holds stay, the others are evicted, least recently used first."""

    def __init__(self, capacity: int) -> None:
        """capacity: tokens in all."""
        self.capacity = capacity
        self.used = 0
        self._entries: OrderedDict[MediaKey, _Entry[T]] = OrderedDict()

    @property
    def held(self) -> int:
        """Tokens of the outputs that requests hold."""
        return sum(entry.tokens for entry in self._entries.values() if entry.holders)

    def has(self, key: MediaKey) -> bool:
        """Whether the output has been stored."""
        return key in self._entries and self._entries[key].output is not None

    def reserve(self, key: MediaKey, tokens: int) -> None:
        """Hold the output until `release`; makes room for `tokens` where there is no entry yet."""
        entry = self._entries.get(key)
        if entry is None:
            self._make_room(tokens)
            entry = self._entries[key] = _Entry(tokens)
            self.used += tokens
        entry.holders += 1
        self._entries.move_to_end(key)

    def store(self, key: MediaKey, output: T) -> None:
        """Fill in the output of a reserved key."""
        self._entries[key].output = output

    def get(self, key: MediaKey) -> T:
        """The output of a reserved key."""
        output = self._entries[key].output
        assert output is not None, "a chunk needs an encoder output that was never computed"
        return output

    def release(self, key: MediaKey) -> None:
        """Release one hold. An entry without an output is dropped."""
        entry = self._entries[key]
        assert entry.holders > 0, "an encoder output is released and no request holds it"
        entry.holders -= 1
        if entry.holders == 0 and entry.output is None:
            self._drop(key)

    def clear(self) -> None:
        """Drop all outputs that no request holds."""
        for key in [key for key, entry in self._entries.items() if not entry.holders]:
            self._drop(key)

    def _make_room(self, tokens: int) -> None:
        idle = iter([key for key, entry in self._entries.items() if not entry.holders])
        while self.used + tokens > self.capacity:
            key = next(idle, None)
            # Held outputs belong to tokens of held pages, and the cache has room for as many tokens as the pages.
            assert key is not None, (
                f"an encoder output of {tokens} tokens does not fit: {self.held} of {self.capacity} tokens are held"
            )
            self._drop(key)

    def _drop(self, key: MediaKey) -> None:
        self.used -= self._entries.pop(key).tokens
