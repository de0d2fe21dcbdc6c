"""The sentences that training hears: passages of PASSAGE sentences, each in one voice and kept in a speech bank.

The passages of a number mean the same in every language. What is heard in training comes from passages; what is heard
in a held-out example is made for it alone.
"""

from __future__ import annotations

import functools
import random

from phi4mm.nano.synth import sentences
from phi4mm.nano.synth.example import Language
from phi4mm.nano.synth.language.grammar import render, sentence
from phi4mm.nano.synth.language.meaning import Meaning
from phi4mm.nano.synth.split import Split, is_held_out

PASSAGE = 40  # sentences
PASSAGES: dict[Language, int] = {"en": 1000, "de": 400, "fr": 400, "es": 400}
TRANSLATED = 400  # passages that every language has
FIRST = 850  # English passages from here on are sentences of the first nano
FIRST_SHARE = 0.15


@functools.lru_cache(maxsize=2000)
def meanings(number: int) -> tuple[Meaning, ...]:
    """What passage `number` says: PASSAGE different sentences of the training split."""
    rng = random.Random(f"passage {number}")
    found: dict[str, Meaning] = {}
    while len(found) < PASSAGE:
        meaning = sentence("train", rng)
        english = render(meaning, "en")
        if not is_held_out(english):  # where the first nano is measured
            found[english] = meaning
    return tuple(found.values())


@functools.lru_cache(maxsize=4000)
def passage(number: int, language: Language) -> tuple[str, ...]:
    """The sentences of passage `number` in a language."""
    if number < FIRST:
        return tuple(render(meaning, language) for meaning in meanings(number))
    rng, found = random.Random(f"first passage {number}"), dict[str, None]()
    while len(found) < PASSAGE:
        english = sentences.make_sentence("train", rng)
        if not is_held_out("sentence", english):
            found[english] = None
    return tuple(found)


def draw_sentences(language: Language, split: Split, rng: random.Random, count: int) -> list[str]:
    """`count` sentences that one voice can say."""
    if split == "train":
        return rng.sample(passage(rng.randrange(PASSAGES[language]), language), count)
    if language == "en" and rng.random() < FIRST_SHARE:
        return [sentences.make_sentence(split, rng) for _ in range(count)]
    return [render(sentence(split, rng), language) for _ in range(count)]


def draw_meanings(split: Split, rng: random.Random, count: int) -> list[Meaning]:
    """`count` meanings that one voice can say in any language."""
    if split == "train":
        return rng.sample(meanings(rng.randrange(TRANSLATED)), count)
    return [sentence(split, rng) for _ in range(count)]
