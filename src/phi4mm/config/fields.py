"""Strict reading of one JSON object: every key is taken or refused, and errors name the nearest key."""

from __future__ import annotations

import difflib
import math
from typing import Any

from phi4mm.errors import ConfigError

MAX_SIZE = 1 << 24  # no width, count or length of a model comes near it


class Fields:
    """One section of a configuration file. Each getter marks its key as read; `finish` refuses the rest."""

    def __init__(self, raw: object, path: str) -> None:
        if not isinstance(raw, dict):
            raise ConfigError(f"{path} is {raw!r:.60}; expected an object")
        self.raw: dict[str, Any] = raw
        self._path = path
        self._read: set[str] = set()
        self._sections: list[Fields] = []

    def __contains__(self, name: str) -> bool:
        return name in self.raw

    def section(self, name: str) -> Fields:
        """A nested object, finished together with this one."""
        inner = Fields(self._take(name), f"{self._path}: {name}")
        self._sections.append(inner)
        return inner

    def integer(self, name: str, *, low: int = 1) -> int:
        """A whole number from `low` to MAX_SIZE."""
        value = self._take(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= MAX_SIZE:
            raise ConfigError(
                f"{self._path}: {name} is {value!r:.60}; expected a whole number from {low} to {MAX_SIZE}"
            )
        return value

    def integers(self, name: str) -> tuple[int, ...]:
        """One id or a list of them."""
        value = self._take(name)
        ids = value if isinstance(value, list) else [value]
        if not ids or not all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i <= MAX_SIZE for i in ids):
            raise ConfigError(f"{self._path}: {name} is {value!r:.60}; expected token ids")
        return tuple(ids)

    def number(self, name: str, *, low: float = 1e-12) -> float:
        """A finite number of at least `low`."""
        value = self._take(name)
        if not _is_number(value) or value < low:
            raise ConfigError(f"{self._path}: {name} is {value!r:.60}; expected a number of at least {low:g}")
        return float(value)

    def numbers(self, name: str) -> tuple[float, ...]:
        """A list of positive numbers."""
        value = self._take(name)
        if not isinstance(value, list) or not value or not all(_is_number(v) and v > 0 for v in value):
            raise ConfigError(f"{self._path}: {name} is {value!r:.60}; expected a list of positive numbers")
        return tuple(float(v) for v in value)

    def text(self, name: str) -> str:
        """A string."""
        value = self._take(name)
        if not isinstance(value, str):
            raise ConfigError(f"{self._path}: {name} is {value!r:.60}; expected a string")
        return value

    def expect(self, name: str, only: object, *, optional: bool = False) -> None:
        """The one value phi4mm implements; another one would be another model."""
        if optional and name not in self.raw:
            return
        value = self._take(name)
        if value != only:
            raise ConfigError(f"{self._path}: {name} is {value!r:.60}; phi4mm implements only {only!r}")

    def finish(self, *, ignored: frozenset[str]) -> None:
        """Refuse every key that was neither read nor is known to be without effect."""
        for inner in self._sections:
            inner.finish(ignored=ignored)
        for name in self.raw:
            if name not in self._read and name not in ignored:
                near = difflib.get_close_matches(name, sorted(self._read | ignored), n=1)
                hint = f"; did you mean {near[0]}?" if near else "; remove it if it has no effect"
                raise ConfigError(f"{self._path}: unknown key {name}{hint}")

    def _take(self, name: str) -> Any:
        if name not in self.raw:
            near = difflib.get_close_matches(name, list(self.raw), n=1)
            hint = f"; found {near[0]} instead" if near else ""
            raise ConfigError(f"{self._path}: {name} is missing{hint}")
        self._read.add(name)
        return self.raw[name]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
