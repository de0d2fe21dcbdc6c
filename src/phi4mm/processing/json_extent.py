"""Where a JSON value ends, in text that comes in pieces."""

from __future__ import annotations

import re
from typing import Final

from phi4mm.processing.tool_calls import MAX_DEPTH, skip_blanks

_VALUE: Final = '"[{-0123456789tfn'  # the first characters of a value
_KEYS: Final = ('"', '"}')  # what may come where a string is a key
_LITERALS: Final = {"t": "true", "f": "false", "n": "null"}
_STRING: Final = re.compile(r'(?:[^"\\]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*')
_MAY_BE_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_NUMBER_CHARACTERS: Final = re.compile(r"[-+.0-9eE]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")


class JSONExtent:
    """Follows one JSON object or array, as Python's json reads it, with line breaks and tabs in strings.

    ended  whether the value has ended, where `feed` said
    """

    def __init__(self, *, calls: bool) -> None:
        """With `calls`, an outermost array may hold objects only; without, the value is an object."""
        self.ended = False
        self._open = ""  # the brackets that are open, the outermost first
        self._expected = "[{" if calls else "{"  # the first characters of what may come next
        self._in_string = False
        self._number: list[str] | None = None  # pieces of a number that may go on

    def feed(self, text: str, at: int) -> int:
        """Read text from `at` on. Returns how far it was read: the rest (5 characters at most) must be fed again.

        raises  ValueError where no such value can come of it
        """
        while at < len(text) and not self.ended:
            if self._in_string:
                at = _match_end(_STRING, text, at)
                if at == len(text) or _MAY_BE_ESCAPE.fullmatch(text, at):
                    break
                if text[at] != '"':
                    raise ValueError("not an escape")
                self._in_string, at = False, at + 1
                self._expected = ":" if self._expected in _KEYS else self._more
            elif self._number is not None:
                end = _match_end(_NUMBER_CHARACTERS, text, at)
                self._number.append(text[at:end])
                if (at := end) < len(text):
                    self._end_number()
            else:
                at = skip_blanks(text, at)
                if at < len(text) and (at := self._token(text, at)) < 0:
                    return len(text) + at
        return at

    def _token(self, text: str, at: int) -> int:
        """Read what begins at `at`. Returns where to go on; minus the number of characters left if it is incomplete."""
        first = text[at]
        if first not in self._expected:
            raise ValueError("not JSON, or not of this kind")
        if first in _LITERALS:
            if not text.startswith(word := _LITERALS[first], at):
                if not word.startswith(text[at:]):
                    raise ValueError("not a literal")
                return at - len(text)
            self._expected = self._more
            return at + len(word)
        if first == '"':
            self._in_string = True
        elif first in "[{":
            self._expected = '"}' if first == "{" else "{]" if not self._open else f"{_VALUE}]"
            self._open += first
            if len(self._open) > MAX_DEPTH + 2:
                raise ValueError("too deep")
        elif first in "]}":
            self._open = self._open[:-1]
            self.ended = not self._open
            self._expected = "" if self.ended else self._more
        elif first == ":":
            self._expected = _VALUE
        elif first == ",":
            self._expected = '"' if self._open[-1] == "{" else "{" if self._open == "[" else _VALUE
        else:
            self._number = []
            return at
        return at + 1

    def _end_number(self) -> None:
        if not _NUMBER.fullmatch("".join(self._number or ())):
            raise ValueError("not a number")
        self._number, self._expected = None, self._more

    @property
    def _more(self) -> str:
        """What may come after a value."""
        return ",}" if self._open[-1] == "{" else ",]"


def _match_end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    assert found is not None
    return found.end()
