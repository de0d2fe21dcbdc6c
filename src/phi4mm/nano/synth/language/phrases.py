"""Draws noun phrases: nouns with determiners, numbers and adjectives that go with them."""

from __future__ import annotations

import random
from collections import defaultdict

from phi4mm.nano.synth.language.adjectives import ADJECTIVES
from phi4mm.nano.synth.language.meaning import MEN, PRONOUNS, WOMEN, Determiner, Phrase
from phi4mm.nano.synth.language.nouns import NOUNS
from phi4mm.nano.synth.language.verbs import VERBS

BY_KIND: dict[str, list[str]] = defaultdict(list)
for _name, _noun in NOUNS.items():
    BY_KIND[_noun.kind].append(_name)
MASS = ("food", "drink")
ADJECTIVES_OF = {
    "person": ("person",), "family": (), "animal": ("size", "color"), "food": ("taste",), "drink": ("taste",),
    "dish": ("taste", "size"), "thing": ("size", "color", "state"), "text": ("text",),
    "clothes": ("size", "color", "state"), "box": ("size", "color", "state", "opening"),
    "door": ("size", "color", "opening"), "furniture": ("size", "color", "state"), "outdoors": ("size",),
    "room": ("size", "state"),
    "building": ("size", "opening"), "place": ("size",), "vehicle": ("size", "color", "state"), "event": ("text",),
}  # fmt: skip
PLURAL_FAMILY = ("brother", "sister", "son", "uncle", "aunt", "friend")
ANIMALS_DO = ("eat", "drink", "see", "hear", "sleep", "play", "wait")
# Adjectives and kinds that do not go together.
STRANGE = {("light", "animal"), ("modern", "animal"), ("new", "animal"), ("expensive", "place"), ("light", "building"),
           ("modern", "place"), ("heavy", "room"), ("light", "room"), ("heavy", "building"), ("long", "animal"),
           ("long", "dish"), ("modern", "dish"), ("empty", "thing"), ("full", "thing"), ("heavy", "place"),
           ("light", "place"), ("full", "clothes"), ("empty", "clothes"), ("broken", "room"), ("new", "place"),
           ("modern", "clothes"), ("wet", "box"), ("broken", "clothes"), ("long", "room"), ("green", "animal"),
           ("blue", "animal"), ("red", "animal"), ("yellow", "animal"), ("heavy", "dish"),
           ("easy", "event"), ("difficult", "event"), ("full", "room"), ("wet", "room"), ("dry", "room"),
           ("heavy", "outdoors"), ("light", "outdoors"), ("modern", "outdoors"), ("expensive", "outdoors"),
           ("dry", "thing"), ("dry", "box"), ("dry", "vehicle"), ("wet", "thing"), ("wet", "furniture"),
           ("full", "furniture"), ("empty", "furniture"), ("dry", "furniture"), ("expensive", "animal"),
           ("new", "dish"), ("expensive", "dish"), ("light", "furniture")}  # fmt: skip


def subject(rng: random.Random, verb: str = "") -> Phrase:
    """Somebody who does `verb`: a pronoun, a name, a person, or an animal."""
    style = rng.random()
    if style < 0.45:
        return Phrase(rng.choice(PRONOUNS), "pronoun")
    if style < 0.55:
        return Phrase(rng.choice((*MEN, *WOMEN)), "name")
    if style < 0.75:
        return noun(rng, ("family",), ("my", "your", "our"), plain=True)
    animal = verb in ANIMALS_DO and rng.random() < 0.4
    return noun(rng, ("animal" if animal else "person",), ("the", "the", "this", "number"))


def object_of(verb: str, rng: random.Random) -> Phrase | None:
    """Something that goes with a verb; None for a verb without object."""
    kinds = VERBS[verb].objects
    return noun(rng, kinds, ("the", "the", "a", "", "my", "this", "number", "your", "our")) if kinds else None


def noun(
    rng: random.Random, kinds: tuple[str, ...], determiners: tuple[Determiner, ...], *, plain: bool = False
) -> Phrase:
    """A noun of one of `kinds`; `plain` gives no adjective."""
    kind = rng.choice(kinds)
    name, determiner = rng.choice(BY_KIND[kind]), rng.choice(determiners)
    if kind in MASS and determiner in ("a", "number"):
        determiner = ""
    if kind == "family" and determiner in ("the", "this", "a", "number", ""):
        determiner = rng.choice(("my", "your", "our"))
    same = NOUNS[name].en.singular == NOUNS[name].en.plural
    count = 1
    if determiner == "number":
        count = rng.choice((*range(2, 11), 12, 20))
    elif kind not in MASS and not (determiner == "" and same) and (kind != "family" or name in PLURAL_FAMILY):
        count = 0 if determiner == "" or (determiner != "a" and not same and rng.random() < 0.2) else 1
    elif determiner == "" and same:
        determiner = "the"
    adjective = (
        ""
        if plain or rng.random() < 0.65 or not ADJECTIVES_OF.get(kind)
        else adjective_of(ADJECTIVES_OF[kind], kind, rng)
    )
    return Phrase(name, determiner, count, adjective)


def adjective_of(kinds: tuple[str, ...], kind: str, rng: random.Random) -> str:
    """An adjective of one of the tables `kinds` that goes with nouns of `kind`."""
    while True:
        wanted = rng.choice(kinds)
        drawn = rng.choice([name for name, known in ADJECTIVES.items() if known.kind == wanted])
        if (drawn, kind) not in STRANGE:
            return drawn


def described(rng: random.Random) -> Phrase:
    """A thing, an animal or a person, with a determiner and often an adjective."""
    return noun(rng, tuple(kind for kind in ADJECTIVES_OF if ADJECTIVES_OF[kind]), ("the", "a", "my", "this", "number"))
