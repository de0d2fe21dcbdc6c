"""Read one JSON object strictly: every key is used or refused, and errors name the nearest key."""

from __future__ import annotations

import math
from typing import Any

from phi4mm.config.validate import closest, integer, is_integer, is_number, shown
from phi4mm.errors import ConfigError

MAX_SIZE = 1 << 24  # far above any width, count or length of a model


class Fields:
    """One section of a configuration file. Each getter marks its key as read; `finish` refuses the rest."""

    def __init__(self, raw: object, path: str) -> None:
        if not isinstance(raw, dict):
            raise ConfigError(f"{path} is {shown(raw)}; expected an object")
        self.raw: dict[str, Any] = raw
        self._path = path
        self._read: set[str] = set()
        self._sections: list[Fields] = []

    def __contains__(self, name: str) -> bool:
        return name in self.raw

    def section(self, name: str) -> Fields:
        """A nested object, which `finish` of this one also finishes."""
        inner = Fields(self._take(name), f"{self._path}: {name}")
        self._sections.append(inner)
        return inner

    def list_of_sections(self, name: str) -> list[Fields]:
        """A list of nested objects, which `finish` of this one also finishes."""
        value = self._take(name)
        if not isinstance(value, list):
            raise ConfigError(f"{self._path}: {name} is {shown(value)}; expected a list of sections")
        inner = [Fields(raw, f"{self._path}: {name} {number}") for number, raw in enumerate(value, start=1)]
        self._sections += inner
        return inner

    def integer(self, name: str, *, low: int = 1) -> int:
        """A whole number from `low` to MAX_SIZE."""
        value = self._take(name)
        integer(f"{self._path}: {name}", value, low, MAX_SIZE, error=ConfigError)
        return int(value)

    def integers(self, name: str) -> tuple[int, ...]:
        """One id or a list of them."""
        value = self._take(name)
        ids = value if isinstance(value, list) else [value]
        if not ids or not all(is_integer(i) and 0 <= i <= MAX_SIZE for i in ids):
            raise ConfigError(f"{self._path}: {name} is {shown(value)}; expected token ids")
        return tuple(ids)

    def number(self, name: str, *, low: float = 1e-12, high: float = math.inf) -> float:
        """A finite number from `low` to `high`."""
        value = self._take(name)
        if not is_number(value) or not low <= value <= high:
            bounds = f"of at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
            raise ConfigError(f"{self._path}: {name} is {shown(value)}; expected a number {bounds}")
        return float(value)

    def numbers(self, name: str) -> tuple[float, ...]:
        """A list of positive numbers."""
        value = self._take(name)
        if not isinstance(value, list) or not value or not all(is_number(v) and v > 0 for v in value):
            raise ConfigError(f"{self._path}: {name} is {shown(value)}; expected a list of positive numbers")
        return tuple(float(v) for v in value)

    def text(self, name: str) -> str:
        """A string."""
        value = self._take(name)
        if not isinstance(value, str):
            raise ConfigError(f"{self._path}: {name} is {shown(value)}; expected a string")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self._take(name)
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise ConfigError(f"{self._path}: {name} is {shown(value)}; expected a list of strings")
        return tuple(value)

    def flag(self, name: str) -> bool:
        """true or false."""
        value = self._take(name)
        if not isinstance(value, bool):
            raise ConfigError(f"{self._path}: {name} is {shown(value)}; expected true or false")
        return value

    def expect(self, name: str, only: object, *, optional: bool = False) -> None:
        """Refuse any value but `only`, because phi4mm does not implement other values of this key."""
        if optional and name not in self.raw:
            return
        value = self._take(name)
        if value != only:
            raise ConfigError(f"{self._path}: {name} is {shown(value)}; phi4mm implements only {only!r}")

    def finish(self, *, ignored: frozenset[str]) -> None:
        """Refuse every key that was not read, except those in `ignored`, which have no effect."""
        for inner in self._sections:
            inner.finish(ignored=ignored)
        for name in self.raw:
            if name not in self._read and name not in ignored:
                near = closest(name, sorted(self._read | ignored))
                hint = f"did you mean {near}?" if near else "remove it if it has no effect"
                raise ConfigError(f"{self._path}: unknown key {name:.60}; {hint}")

    def _take(self, name: str) -> Any:
        if name not in self.raw:
            near = closest(name, self.raw)
            hint = f"; found {near:.60} instead" if near else ""
            raise ConfigError(f"{self._path}: {name} is missing{hint}")
        self._read.add(name)
        return self.raw[name]
