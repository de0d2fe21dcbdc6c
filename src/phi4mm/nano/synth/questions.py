"""Questions about an image, typed or spoken, with the one right answer."""

from __future__ import annotations

import random

from phi4mm.nano.synth.scene import COLORS, SHAPES, Scene
from phi4mm.nano.synth.signs import SIGNS, Sign

DESCRIBE = (
    "What is shown in this image?", "What is in this picture?", "Describe the image.", "What do you see?",
    "Describe this picture.", "What does the image show?",
)  # fmt: skip
# The words that describe images: the classes of the `multilabel` loss.
NAMES = tuple(
    sorted(
        {*SHAPES, *COLORS, *"middle left right top bottom".split(), *(w for sign in SIGNS for w in sign.name.split())}
    )
)


def ask_scene(scene: Scene, rng: random.Random) -> tuple[str, str]:
    """A question about `scene` and its answer; four of nine ask for a description."""
    thing = rng.choice(scene.things)
    kind = rng.randrange(9)
    if kind < 4:
        return rng.choice(DESCRIBE), describe(scene)
    if kind < 6:
        return rng.choice(
            (f"What color is the {thing.shape}?", f"Which color is the {thing.shape}?")
        ), f"{thing.color.capitalize()}."
    if kind == 6:
        return f"Where is the {thing.shape}?", f"{thing.position.capitalize()}."
    if kind == 7:
        return f"Which object is {thing.color}?", f"The {thing.shape}."
    if len(scene.things) == 2:
        return f"What is {thing.position}?", f"{article(thing.color)} {thing.color} {thing.shape}."
    return "How many objects are there?", ("One.", "Two.")[len(scene.things) - 1]


def ask_sign(sign: Sign, rng: random.Random) -> tuple[str, str]:
    """A question about an image of `sign` and its answer."""
    if sign.words and rng.random() < 0.3:
        return rng.choice(("What does the sign say?", "Read the sign.")), f"{sign.words.capitalize()}."
    if rng.random() < 0.4:
        return rng.choice(("What sign is this?", "Which sign is this?")), f"{article(sign.name)} {sign.name}."
    return rng.choice(DESCRIBE), f"{article(sign.name)} {sign.name}."


def describe(scene: Scene) -> str:
    """All things of the scene: `A red circle on the left and a blue star on the right.`"""
    parts = [f"{article(thing.color)} {thing.color} {thing.shape} {thing.position}" for thing in scene.things]
    text = " and ".join(part.lower() for part in parts)
    return text[0].upper() + text[1:] + "."


def article(word: str) -> str:
    """`A` or `An`, as the word needs."""
    return "An" if word[0] in "aeio" and not word.startswith("one") else "A"
