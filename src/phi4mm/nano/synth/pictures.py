"""Two to four pictures in one prompt: which shows something, how many, what is different, what is in each."""

from __future__ import annotations

import random
from typing import TypeAlias

import numpy as np

from phi4mm.nano.synth.example import Example, Speaker
from phi4mm.nano.synth.objects import COLORS, PLACES, SHAPES, Thing, a, combinations, draw_things
from phi4mm.nano.synth.scenes import COUNTS, PLURALS, Scene, describe, make_scene
from phi4mm.nano.synth.split import Split
from phi4mm.protocol.messages import Image, Message

TASKS = ("pictures", "difference")
ORDINALS = ("first", "second", "third", "fourth")
SIZES = ((224, 224), (224, 224), (200, 200), (160, 160), (180, 220))
EACH = ("Describe the pictures.", "What is in each picture?", "What do the pictures show?", "Describe each picture.")
DIFFERENT = (
    "What is different?", "What is the difference between the pictures?", "What has changed?", "Compare the pictures.",
    "How do the two pictures differ?",
)  # fmt: skip
Asked: TypeAlias = "tuple[str, str]"


def make(task: str, split: Split, rng: random.Random, _speak: Speaker) -> Example:
    """Pictures and a question about all of them; for `difference` two that differ in at most one thing."""
    size = rng.choice(SIZES)
    scenes: tuple[Scene, ...]
    if task == "difference":
        scenes, (question, answer) = _make_difference(split, rng)
        seed = rng.random()
        images = [draw_things(scene, random.Random(seed), size) for scene in scenes]
    else:
        scenes = tuple(make_scene(split, rng, rng.choice((1, 1, 2))) for _ in range(rng.choice((2, 2, 3, 4))))
        question, answer = ask(scenes, rng)
        images = [draw_things(scene, rng, size) for scene in scenes]
    shown = " ".join(describe(scene) for scene in scenes)
    return Example(
        task, (Message.user(*(Image(np.asarray(image)) for image in images), question),), (), answer, shown=shown
    )


def ask(scenes: tuple[Scene, ...], rng: random.Random) -> Asked:
    """A question about two to four pictures, and its answer."""
    kind = rng.randrange(8)
    number = rng.randrange(len(scenes))
    if kind == 0:
        parts = [f"{ORDINALS[n].capitalize()} picture: {_lower(describe(scene))}" for n, scene in enumerate(scenes)]
        return rng.choice(EACH), " ".join(parts)
    if kind < 3:
        return f"What is in the {ORDINALS[number]} picture?", describe(scenes[number])
    if kind == 3:
        return "How many pictures are there?", COUNTS[len(scenes)]
    thing = rng.choice(scenes[number])
    shape = thing.shape if rng.random() < 0.8 else rng.choice(tuple(SHAPES))
    found = [n for n, scene in enumerate(scenes) if any(other.shape == shape for other in scene)]
    if kind == 4:
        return f"How many pictures show {a(shape)}?", COUNTS[len(found)]
    if kind == 5:
        return f"Is there {a(shape)} in the {ORDINALS[number]} picture?", "Yes." if number in found else "No."
    if kind == 6:
        return f"How many {PLURALS[shape]} are there in all pictures?", _count(scenes, shape)
    if len(found) > 1:
        found = [n for n, scene in enumerate(scenes) if any(other.name == thing.name for other in scene)]
        shape = thing.name
    return f"Which picture shows {a(shape)}?", _list_pictures(found)


def _make_difference(split: Split, rng: random.Random) -> tuple[tuple[Scene, Scene], Asked]:
    """A picture, and the same with another colour, place or shape of its thing, or without any difference."""
    question = rng.choice(DIFFERENT)
    (first,) = make_scene(split, rng, 1)
    shapes, colors, places = (first.shape,), (first.color,), (first.place,)
    kind = rng.randrange(4)
    if kind == 1:
        others = combinations(split, tuple(SHAPES), colors, places)
    elif kind == 2:
        others = combinations(split, shapes, tuple(COLORS), places)
    else:
        others = combinations(split, shapes, colors, tuple(PLACES))
    changed = [other for other in others if other != (first.shape, first.color, first.place)]
    if kind == 0 or not changed:
        return ((first,), (first,)), (question, "Nothing is different.")
    second = Thing(*rng.choice(changed), first.size)
    said = (
        f"{a(first.shape).capitalize()} in the first picture, {a(second.shape)} in the second.",
        f"The {first.shape} is {first.color} in the first picture and {second.color} in the second.",
        f"The {first.shape} is {first.place} in the first picture and {second.place} in the second.",
    )[kind - 1]
    return ((first,), (second,)), (question, said)


def _count(scenes: tuple[Scene, ...], shape: str) -> str:
    count = sum(thing.shape == shape for scene in scenes for thing in scene)
    return COUNTS[count] if count < len(COUNTS) else f"{('Five', 'Six', 'Seven', 'Eight')[count - len(COUNTS)]}."


def _list_pictures(numbers: list[int]) -> str:
    """`The first and the third picture.`"""
    if not numbers:
        return "None of them."
    *most, last = [f"the {ORDINALS[number]}" for number in numbers]
    text = f"{', '.join(most)} and {last} picture." if most else f"{last} picture."
    return text[0].upper() + text[1:]


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]
