"""Tokens to text, piece by piece: whole characters only, and nothing that may be the start of a stop string."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Callable, Sequence


class TextStream:
    """The text of one answer while it is generated. Time is linear in the answer, for any stop strings.

    The text ends before the stop string that is complete first, counted in characters and not in tokens. If two are
    complete at the same character, it ends before the longer one.

    stopped  True once a stop string was found; later tokens are ignored
    """

    def __init__(self, token_bytes: Callable[[int], bytes], stop: Sequence[str] = ()) -> None:
        """`token_bytes` returns the bytes of an id, b"" for special tokens; `stop` must not contain an empty string."""
        assert all(stop), "an empty stop string would end every answer at once"
        self.stopped = False
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stops = _StopMatcher(stop)
        self._held = ""
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        """All text returned so far; joined at each call."""
        return "".join(self._pieces)

    def push(self, token_id: int) -> str:
        """Add the next token. Returns the text that is now certain, often ""."""
        return self._release(self._decoder.decode(self._token_bytes(token_id)))

    def finish(self) -> str:
        """Return the text that was held back; an incomplete character becomes U+FFFD."""
        last = self._release(self._decoder.decode(b"", final=True))
        rest, self._held = self._held, ""
        if rest:
            self._pieces.append(rest)
        return last + rest

    def _release(self, decoded: str) -> str:
        if self.stopped:
            return ""
        ready = self._held + decoded
        begin = self._stops.find(decoded)
        self.stopped = begin is not None
        certain = len(ready) - self._stops.pending if begin is None else len(self._held) + begin
        self._held = "" if self.stopped else ready[certain:]
        if certain:
            self._pieces.append(ready[:certain])
        return ready[:certain]


class _StopMatcher:
    """Aho-Corasick automaton: finds the string that is complete first in a text that comes in pieces.

    A state is a prefix of one of the strings. Stored for each state: the next states by character, the state of its
    longest proper suffix that is also a state, its length, and the length of the longest string it ends with (0: none).
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self._next: list[dict[str, int]] = [{}]
        self._suffix = [0]
        self._length = [0]
        self._whole = [0]
        self._state = 0
        for string in strings:
            self._whole[self._insert(string)] = len(string)
        self._link()

    @property
    def pending(self) -> int:
        """How many of the last characters may be the start of one of the strings."""
        return self._length[self._state]

    def find(self, piece: str) -> int | None:
        """Where the first complete string begins, relative to the start of `piece` (may be negative), or None."""
        if len(self._next) == 1:
            return None
        for position, character in enumerate(piece, start=1):
            self._state = self._step(self._state, character)
            if self._whole[self._state]:
                return position - self._whole[self._state]
        return None

    def _step(self, state: int, character: str) -> int:
        while state and character not in self._next[state]:
            state = self._suffix[state]
        return self._next[state].get(character, 0)

    def _insert(self, string: str) -> int:
        state = 0
        for length, character in enumerate(string, start=1):
            state = self._next[state].setdefault(character, len(self._next))
            if state == len(self._next):
                self._next.append({})
                self._suffix.append(0)
                self._length.append(length)
                self._whole.append(0)
        return state

    def _link(self) -> None:
        # Breadth first: a suffix is shorter than its state, so it already has its own link.
        queue = deque(self._next[0].values())
        while queue:
            state = queue.popleft()
            for character, target in self._next[state].items():
                self._suffix[target] = self._step(self._suffix[state], character)
                self._whole[target] = self._whole[target] or self._whole[self._suffix[target]]
                queue.append(target)
