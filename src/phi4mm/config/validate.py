"""Checks of single values: each says what was found and what was expected."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection

from phi4mm.errors import ConfigError, InputError, PhiError


def number(name: str, value: object, low: float, high: float, *, above: bool = False) -> None:
    """A finite number from `low` (excluded with `above`) to `high`. Raises InputError."""
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not real or not math.isfinite(value) or not low <= value <= high or (above and value == low):  # type: ignore[arg-type, operator]
        bounds = f"{'above' if above else 'from'} {low:g} {'up to' if above else 'to'} {high:g}"
        raise InputError(f"{name} is {value!r}; expected a number {bounds}")


def integer(name: str, value: object, low: int, high: int, *, error: type[PhiError] = InputError) -> None:
    """A whole number from `low` to `high`; a bool is none. Raises `error`."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise error(f"{name} is {value!r}; expected a whole number from {low} to {high}")


def one_of(name: str, value: object, allowed: Collection[str]) -> None:
    """One of the allowed words. Raises ConfigError."""
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(allowed)}")


def text(name: str, value: object, most: int) -> None:
    """1 to `most` characters of real Unicode. Raises InputError."""
    if not isinstance(value, str):
        raise InputError(f"{name} is {type(value).__name__}; expected text")
    if not 1 <= len(value) <= most:
        raise InputError(f"{name} has {len(value)} characters; expected 1 to {most}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InputError(f"{name} holds a lone surrogate; decode it as UTF-8 before it comes here")


def nearest(name: str, known: Collection[str]) -> str:
    """A hint for an unknown name: the known one it resembles, or all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
