"""Checks of single values. Each error says what was found and what was expected."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Collection, Iterable, Sequence
from typing import TypeGuard

from phi4mm.errors import ConfigError, InputError, PhiError

_USER = re.compile(r"://[^?#\s'\"]*@")
_QUERY = re.compile(r"(?<=://)([^?#\s'\"]*)[?#][^\s'\"]*")
SHOWN = 60  # characters of a wrong value in a message
LISTED, SHOWN_LINE = 20, 200  # lines of a list in a message, and characters of each
SHOWN_PATH = 80  # and of a path, whose end says most
LFS_HEAD = b"version https://git-lfs"  # how the small files begin that git has in place of large ones


def is_integer(value: object) -> TypeGuard[int]:
    """Whether it is a whole number. A bool is not one here, although it is an int in Python."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a finite number. A bool is not one, nor is a whole number that is too large for a float."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def number(name: str, value: object, low: float, high: float, *, above: bool = False) -> None:
    """Check for a finite number from `low` (excluded with `above`) to `high`. Raises InputError."""
    if not is_number(value) or not low <= value <= high or (above and value == low):
        bounds = f"{'above' if above else 'from'} {low:g} {'up to' if above else 'to'} {high:g}"
        raise InputError(f"{name} is {shown(value)}; expected a number {bounds}")


def integer(name: str, value: object, low: int, high: int, *, error: type[PhiError] = InputError) -> None:
    """Check for a whole number from `low` to `high`; a bool is not one. Raises `error`."""
    if not is_integer(value) or not low <= value <= high:
        raise error(f"{name} is {shown(value)}; expected a whole number from {low} to {high}")


def one_of(name: str, value: object, allowed: Collection[str]) -> None:
    """Check for one of the allowed words. Raises ConfigError."""
    if not isinstance(value, str) or value not in allowed:
        raise ConfigError(f"{name} is {shown(value)}; expected one of {', '.join(allowed)}")


def text(name: str, value: object, limit: int) -> None:
    """Check for 1 to `limit` characters of valid Unicode. Raises InputError."""
    if not isinstance(value, str):
        raise InputError(f"{name} is {type(value).__name__}; expected text")
    if not 1 <= len(value) <= limit:
        raise InputError(f"{name} has {len(value)} characters; expected 1 to {limit}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InputError(f"{name} holds a lone surrogate; expected Unicode, decode it as UTF-8 first")


def nearest(name: str, known: Collection[str]) -> str:
    """A hint for an unknown name: the known name that is most similar, or all of them."""
    match = closest(name, known)
    return f"did you mean {match}?" if match else f"expected one of {', '.join(known)}"


def refuse_unknown(where: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise ConfigError for the first of the keywords `names` that is not in `known`."""
    allowed = sorted(known)
    for name in names:
        if name not in allowed:
            raise ConfigError(f"{where}: unknown keyword {name:.{SHOWN}}; {nearest(name, allowed)}")


def closest(name: str, known: Collection[str]) -> str | None:
    """The known name that `name` may be a misspelling of, or None."""
    return next(iter(difflib.get_close_matches(name, known, n=1)), None)


def shown(value: object) -> str:
    """The first characters of a wrong value, for messages; safe for any value."""
    try:
        return _without_secrets(repr(value)[:1000])[:SHOWN]
    except ValueError:  # Python does not print whole numbers of more than 4,300 digits
        return f"{type(value).__name__} of too many digits to show"


def shown_path(path: str | os.PathLike[str]) -> str:
    """A path for messages: of a long one the end, of a very long one, which is no path, the beginning."""
    text = _without_secrets(os.fspath(path))
    if len(text) > 4096:
        return shown(text)
    return repr(text if len(text) <= SHOWN_PATH else f"...{text[3 - SHOWN_PATH :]}")


def listed(problems: Sequence[str]) -> str:
    """Problems as indented lines: the first 20, each in part, and the number of the others."""
    lines = [f"{problem:.{SHOWN_LINE}}" for problem in problems[:LISTED]]
    more = len(problems) - LISTED
    return "\n  ".join(["", *lines, *([f"and {more} more"] if more > 0 else [])])


def _without_secrets(text: str) -> str:
    """URLs in it without name, password and query, where tokens are."""
    return _QUERY.sub(r"\1", _USER.sub("://", text))


def refuse_lfs_pointer(name: str, head: bytes, error: type[PhiError]) -> None:
    """Raise `error` if a file begins as a pointer of Git LFS does."""
    if head.startswith(LFS_HEAD):
        raise error(f"{name} is a pointer of Git LFS, not the file itself; run `git lfs pull` in its repository")
