"""Checks of single values: each says what was found and what was expected."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable
from typing import TypeGuard

from phi4mm.errors import ConfigError, InputError, PhiError

SHOWN = 60  # characters of a wrong value in a message


def is_integer(value: object) -> TypeGuard[int]:
    """A whole number; a bool is none, though Python makes it one."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """A finite number; a bool is none, nor is a whole number beyond what a float can hold."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def number(name: str, value: object, low: float, high: float, *, above: bool = False) -> None:
    """A finite number from `low` (excluded with `above`) to `high`. Raises InputError."""
    if not is_number(value) or not low <= value <= high or (above and value == low):
        bounds = f"{'above' if above else 'from'} {low:g} {'up to' if above else 'to'} {high:g}"
        raise InputError(f"{name} is {shown(value)}; expected a number {bounds}")


def integer(name: str, value: object, low: int, high: int, *, error: type[PhiError] = InputError) -> None:
    """A whole number from `low` to `high`; a bool is none. Raises `error`."""
    if not is_integer(value) or not low <= value <= high:
        raise error(f"{name} is {shown(value)}; expected a whole number from {low} to {high}")


def one_of(name: str, value: object, allowed: Collection[str]) -> None:
    """One of the allowed words. Raises ConfigError."""
    if value not in allowed:
        raise ConfigError(f"{name} is {shown(value)}; expected one of {', '.join(allowed)}")


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
    near = closest(name, known)
    return f"did you mean {near}?" if near else f"expected one of {', '.join(known)}"


def refuse_unknown(where: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse the first of the keywords `names` that is not known. Raises ConfigError."""
    allowed = sorted(known)
    for name in names:
        if name not in allowed:
            raise ConfigError(f"{where}: unknown keyword {name:.{SHOWN}}; {nearest(name, allowed)}")


def closest(name: str, known: Collection[str]) -> str | None:
    """The known name that `name` may be a slip of, if there is one."""
    return next(iter(difflib.get_close_matches(name, known, n=1)), None)


def shown(value: object) -> str:
    """A wrong value as messages show it: its first characters, whatever it is."""
    try:
        return f"{value!r:.{SHOWN}}"
    except ValueError:  # Python spells no whole number of more than some thousand digits
        return f"{type(value).__name__} of too many digits to show"
