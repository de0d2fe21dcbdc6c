"""Which combinations training never sees.

The rule reads only the words of a combination, so it holds across seeds, machines and versions of the generators.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import Literal, TypeAlias, TypeVar

Split: TypeAlias = Literal["train", "held_out"]
T = TypeVar("T")
HELD_OUT_ONE_IN = 8


def is_held_out(*words: str) -> bool:
    """Whether this combination of words belongs to the held-out eighth."""
    return zlib.crc32("|".join(words).encode()) % HELD_OUT_ONE_IN == 0


def draw(
    split: Split, rng: random.Random, make: Callable[[random.Random], T], key: Callable[[T], tuple[str, ...]]
) -> T:
    """Draw from `make` until the combination named by `key` belongs to `split`."""
    wanted = split == "held_out"
    while True:
        made = make(rng)
        if is_held_out(*key(made)) == wanted:
            return made
