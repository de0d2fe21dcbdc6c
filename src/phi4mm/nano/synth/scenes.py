"""Scenes of no to four things with questions about them, and pictures that nano cannot describe."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from phi4mm.nano.synth.example import Example, Speaker
from phi4mm.nano.synth.objects import COLORS, PLACES, SHAPES, SIZES, Thing, a, combinations, draw_things, make_thing
from phi4mm.nano.synth.questions import DESCRIBE
from phi4mm.nano.synth.scene import SIZES as PICTURE_SIZES
from phi4mm.nano.synth.split import Split
from phi4mm.nano.synth.strange import draw_strange, make_strange
from phi4mm.protocol.messages import Image, Message

Scene: TypeAlias = "tuple[Thing, ...]"
TASKS = ("scenes", "strange")
EMPTY = "The picture is empty."
OUTSIDE = "That is outside my small world."
COUNTS = ("None.", "One.", "Two.", "Three.", "Four.")
PLURALS = {shape: f"{shape}s" for shape in SHAPES} | {"fish": "fish", "cross": "crosses"}


def make(task: str, split: Split, rng: random.Random, _speak: Speaker) -> Example:
    """A picture of some things or, for `strange`, of nothing that nano knows, and a question about it."""
    if task == "strange":
        image = draw_strange(make_strange(split, rng), rng)
        question, answer = _ask_strange(rng)
        return Example(task, (Message.user(Image(np.asarray(image)), question),), (), answer, shown="strange")
    scene = make_scene(split, rng, rng.choices((0, 1, 2, 3, 4), (1, 5, 6, 6, 6))[0])
    question, answer = ask(scene, rng)
    image = draw_things(scene, rng, rng.choice(PICTURE_SIZES))
    return Example(task, (Message.user(Image(np.asarray(image)), question),), (), answer, shown=describe(scene))


def make_scene(split: Split, rng: random.Random, count: int) -> Scene:
    """`count` things at different places, in reading order; half of the scenes repeat shapes and colours."""
    shapes, colors, free = list(SHAPES), list(COLORS), list(PLACES)
    repeat = rng.random() < 0.5
    few = rng.sample(shapes, 3), rng.sample(colors, 3)
    things: list[Thing] = []
    for _ in range(count):
        pools = few if repeat and any(combinations(split, *few, free)) else (shapes, colors)
        thing = make_thing(split, rng, *pools, free)
        things.append(thing)
        free.remove(thing.place)
        if not repeat:
            shapes.remove(thing.shape)
            colors.remove(thing.color)
    return tuple(sorted(things, key=lambda thing: list(PLACES).index(thing.place)))


def describe(scene: Scene) -> str:
    """All things: `A red circle on the left, a blue star in the middle and a green cup at the bottom.`"""
    if not scene:
        return EMPTY
    *parts, last = [f"{a(thing.name)} {thing.place}" for thing in scene]
    text = f"{', '.join(parts)} and {last}" if parts else last
    return text[0].upper() + text[1:] + "."


def ask(scene: Scene, rng: random.Random) -> tuple[str, str]:
    """A question about the scene that has one right answer, and this answer."""
    while True:
        asked = rng.choices(tuple(ASKS), tuple(ASKS.values()))[0](scene, rng)
        if asked is not None:
            return asked


def _ask_description(scene: Scene, rng: random.Random) -> tuple[str, str]:
    if len(scene) == 1 and rng.random() < 0.2:
        return "What is this?", _sentence(a(scene[0].name))
    return rng.choice(DESCRIBE), describe(scene)


def _ask_color(scene: Scene, rng: random.Random) -> tuple[str, str] | None:
    shape, found = _pick_shape(scene, rng)
    question = rng.choice((f"What color is the {shape}?", f"Which color is the {shape}?"))
    if len(found) > 1:
        return None
    return question, _sentence(found[0].color) if found else f"There is no {shape}."


def _ask_place(scene: Scene, rng: random.Random) -> tuple[str, str] | None:
    shape, found = _pick_shape(scene, rng)
    if found and rng.random() < 0.4:
        thing = rng.choice(found)
        found, shape = [other for other in scene if other.name == thing.name], thing.name
    if len(found) > 1:
        return None
    return f"Where is the {shape}?", _sentence(found[0].place) if found else f"There is no {shape}."


def _ask_object(scene: Scene, rng: random.Random) -> tuple[str, str] | None:
    color = rng.choice(scene).color if scene and rng.random() < 0.85 else rng.choice(tuple(COLORS))
    found = [thing for thing in scene if thing.color == color]
    if len(found) > 1:
        return None
    return f"Which object is {color}?", f"The {found[0].shape}." if found else f"Nothing is {color}."


def _ask_at(scene: Scene, rng: random.Random) -> tuple[str, str] | None:
    place = rng.choice(scene).place if scene and rng.random() < 0.8 else rng.choice(tuple(PLACES))
    found = [thing for thing in scene if thing.place == place]
    if any(_is_unclear(thing, place) for thing in scene):
        return None
    return f"What is {place}?", _sentence(a(found[0].name)) if found else "Nothing."


def _ask_count(scene: Scene, rng: random.Random) -> tuple[str, str]:
    kind = rng.randrange(4)
    if kind == 0:
        return "How many objects are there?", COUNTS[len(scene)]
    if kind == 1:
        color = rng.choice(scene).color if scene and rng.random() < 0.8 else rng.choice(tuple(COLORS))
        return f"How many {color} objects are there?", COUNTS[sum(thing.color == color for thing in scene)]
    shape, found = _pick_shape(scene, rng)
    return f"How many {PLURALS[shape]} are there?", COUNTS[len(found)]


def _ask_whether(scene: Scene, rng: random.Random) -> tuple[str, str] | None:
    """Yes and no equally often; a wrong thing shares a word with a right one half of the time."""
    yes, kind = rng.random() < 0.5, rng.randrange(3)
    if yes and not scene:
        return None
    thing = rng.choice(scene) if scene else Thing(rng.choice(tuple(SHAPES)), rng.choice(tuple(COLORS)), "on the left")
    shape, color, place = thing.shape, thing.color, thing.place
    if not yes and rng.random() < 0.5:
        shape = rng.choice(tuple(SHAPES))
    elif not yes:
        color, place = rng.choice(tuple(COLORS)), rng.choice(tuple(PLACES))
    if kind == 0:
        return f"Is there {a(shape)}?", _yes(any(other.shape == shape for other in scene))
    if kind == 1:
        return f"Is there {a(f'{color} {shape}')}?", _yes(any(other.name == f"{color} {shape}" for other in scene))
    if any(_is_unclear(thing, place) for thing in scene):
        return None
    return f"Is there something {place}?", _yes(any(other.place == place for other in scene))


def _ask_whether_so(scene: Scene, rng: random.Random) -> tuple[str, str] | None:
    named = _named(scene)
    if not named:
        return None
    thing = rng.choice(named)
    if rng.random() < 0.5:
        color = thing.color if rng.random() < 0.5 else rng.choice(tuple(COLORS))
        return f"Is the {thing.shape} {color}?", _yes(thing.color == color)
    place = thing.place if rng.random() < 0.5 else rng.choice(tuple(PLACES))
    if _is_unclear(thing, place):
        return None
    return f"Is the {thing.shape} {place}?", _yes(thing.place == place)


def _ask_relation(scene: Scene, rng: random.Random) -> tuple[str, str] | None:
    """Left of, right of, above, below: for two things whose columns or rows differ."""
    named = _named(scene)
    if len(named) < 2:
        return None
    first, second = rng.sample(named, 2)
    axis = rng.randrange(2)
    words = (("left of", "right of"), ("above", "below"))[axis]
    if first.at[axis] == second.at[axis]:
        return None
    word = rng.choice(words)
    true = (first.at[axis] < second.at[axis]) == (word == words[0])
    if rng.random() < 0.5:
        return f"Is the {first.shape} {word} the {second.shape}?", _yes(true)
    matching = [other for other in scene if (other.at[axis] - second.at[axis]) * (1, -1)[word == words[0]] > 0]
    if len(matching) > 1:
        return None
    return f"What is {word} the {second.shape}?", _sentence(a(matching[0].name)) if matching else "Nothing."


def _ask_between(scene: Scene, rng: random.Random) -> tuple[str, str] | None:
    """For three things in one row or one column."""
    named = _named(scene)
    if len(named) < 3:
        return None
    for axis in (0, 1):
        for low, middle, high in ((x, y, z) for x in named for y in named for z in named):
            line = (low.at[axis], middle.at[axis], high.at[axis]) == (0.2, 0.5, 0.8)
            if line and low.at[1 - axis] == middle.at[1 - axis] == high.at[1 - axis]:
                first, second = rng.sample((low, high), 2)
                return f"What is between the {first.shape} and the {second.shape}?", _sentence(a(middle.name))
    return None


def _ask_size(scene: Scene, rng: random.Random) -> tuple[str, str] | None:
    """Sizes are compared, and only where they differ by half."""
    named = _named(scene)
    if len(named) < 2:
        return None
    order = list(SIZES)
    first, second = rng.sample(named, 2)
    larger = order.index(first.size) - order.index(second.size)
    if not larger:
        return None
    word, sign = rng.choice((("bigger", 1), ("smaller", -1)))
    if rng.random() < 0.5:
        return f"Is the {first.shape} {word} than the {second.shape}?", _yes(larger * sign > 0)
    answer = first if larger * sign > 0 else second
    return f"What is {word}, the {first.shape} or the {second.shape}?", f"The {answer.shape}."


def _ask_same_color(scene: Scene, rng: random.Random) -> tuple[str, str] | None:
    named = _named(scene)
    if len(named) < 2:
        return None
    first, second = rng.sample(named, 2)
    if first.color != second.color and rng.random() < 0.5:
        return None
    return f"Do the {first.shape} and the {second.shape} have the same color?", _yes(first.color == second.color)


def _ask_strange(rng: random.Random) -> tuple[str, str]:
    if rng.random() < 0.8:
        return rng.choice((*DESCRIBE, "What is this?")), OUTSIDE
    return f"Is there {a(rng.choice(tuple(SHAPES)))}?", "No."


def _pick_shape(scene: Scene, rng: random.Random) -> tuple[str, list[Thing]]:
    """Mostly a shape of the scene, and the things that have it."""
    shape = rng.choice(scene).shape if scene and rng.random() < 0.85 else rng.choice(tuple(SHAPES))
    return shape, [thing for thing in scene if thing.shape == shape]


def _is_unclear(thing: Thing, place: str) -> bool:
    """Whether one may doubt that it is there: something at the top left is not quite at the top."""
    return thing.place != place and place.split()[-1] in thing.place.split() and len(place.split()) == 3


def _named(scene: Scene) -> list[Thing]:
    """The things that their shape alone names."""
    shapes = [thing.shape for thing in scene]
    return [thing for thing in scene if shapes.count(thing.shape) == 1]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _yes(true: bool) -> str:
    return "Yes." if true else "No."


Asked: TypeAlias = "tuple[str, str] | None"
# How often each question is tried.
ASKS: dict[Callable[[Scene, random.Random], Asked], int] = {
    _ask_description: 8, _ask_color: 3, _ask_place: 3, _ask_object: 2, _ask_at: 2, _ask_count: 4, _ask_whether: 3,
    _ask_whether_so: 2, _ask_relation: 3, _ask_between: 6, _ask_size: 2, _ask_same_color: 1,
}  # fmt: skip
