"""The split into training and held-out combinations.

The rule is a hash of the words of a combination, so it is the same for all seeds, machines and generator versions.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import Literal, TypeAlias, TypeVar

Split: TypeAlias = Literal["train", "held_out"]
T = TypeVar("T")
HELD_OUT_ONE_IN = 8
ALWAYS_TRAINED = ("known",)  # the key of what must be memorised; the rule does not hold it out


def is_held_out(*words: str) -> bool:
    """Whether this combination of words belongs to the held-out split, an eighth of all."""
    return zlib.crc32("|".join(words).encode()) % HELD_OUT_ONE_IN == 0


def draw(
    split: Split, rng: random.Random, make: Callable[[random.Random], T], key: Callable[[T], tuple[str, ...]]
) -> T:
    """Draw from `make` until the combination named by `key` belongs to `split`."""
    held_out = split == "held_out"
    while True:
        item = make(rng)
        if is_held_out(*key(item)) == held_out:
            return item
