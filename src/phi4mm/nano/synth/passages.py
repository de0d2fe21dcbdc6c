"""The sentences that training hears: passages of PASSAGE sentences, each in one voice and kept in a speech bank.

What is spoken in training comes from passages; what is spoken in a held-out example is made for it alone.
"""

from __future__ import annotations

import functools
import random

from phi4mm.nano.synth import sentences
from phi4mm.nano.synth.example import Language
from phi4mm.nano.synth.split import Split

PASSAGE = 40  # sentences
# Passages a language; those of the other languages are translations of the first English ones.
PASSAGES: dict[Language, int] = {"en": 1000, "de": 400, "fr": 400, "es": 400}


@functools.lru_cache(maxsize=2000)
def passage(number: int) -> tuple[str, ...]:
    """Passage `number`: PASSAGE different sentences of the training split."""
    rng = random.Random(f"passage {number}")
    found: dict[str, None] = {}
    while len(found) < PASSAGE:
        found[sentences.make_sentence("train", rng)] = None
    return tuple(found)


def draw_sentences(language: Language, split: Split, rng: random.Random, count: int) -> list[str]:
    """`count` sentences that one voice can say."""
    if split == "train":
        return rng.sample(passage(rng.randrange(PASSAGES[language])), count)
    return [sentences.make_sentence(split, rng) for _ in range(count)]
