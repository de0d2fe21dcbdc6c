"""One media item of the corpus and what must become of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """`make` gives the bytes; `refused` is a pattern of the refusal's words, None where it is read.

    status  of a refusal: 400 where the media item is wrong, 413 where it is too large
    """

    name: str
    make: Callable[[], bytes]
    refused: str | None = None
    status: int = 400
