"""Three to eight frames of a short film, as several pictures: what moves and where to, what grows, what stays."""

from __future__ import annotations

import random

import numpy as np
from PIL import ImageDraw

from phi4mm.nano.synth.example import Example, Speaker
from phi4mm.nano.synth.objects import COLORS, SHAPES, SIZES, Thing, draw_ground, make_thing, paint, shade
from phi4mm.nano.synth.split import Split
from phi4mm.protocol.messages import Image, Message

TASKS = ("film",)
# How a thing moves, where it starts and where it ends, in fractions of the picture's width and height.
PATHS: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "to the right": ((0.2, 0.5), (0.8, 0.5)),
    "to the left": ((0.8, 0.5), (0.2, 0.5)),
    "up": ((0.5, 0.8), (0.5, 0.2)),
    "down": ((0.5, 0.2), (0.5, 0.8)),
}
GROWTH = {"gets bigger": (0.07, 0.2), "gets smaller": (0.2, 0.07)}
DESCRIBE = (
    "What happens in this film?", "What happens?", "Describe the film.", "Summarize the video.",
    "What happens in the video?", "These are frames of a video. What happens?",
)  # fmt: skip


def make(task: str, split: Split, rng: random.Random, _speak: Speaker) -> Example:
    """Frames in their order and a question; the thing, with the way it takes, belongs to `split`."""
    thing = make_thing(split, rng, tuple(SHAPES), tuple(COLORS), (*PATHS, *GROWTH, "stays"))
    still = None
    if rng.random() < 0.4:
        shapes = [shape for shape in SHAPES if shape != thing.shape]
        colors = [color for color in COLORS if color != thing.color]
        still = make_thing(split, rng, shapes, colors, ("stays",))
    question, answer = ask(thing, still, rng)
    frames = [Image(frame) for frame in draw_frames(thing, still, rng)]
    shown = tell(thing) if still is None else f"{tell(thing)} {tell(still)}"
    return Example(task, (Message.user(*frames, question),), (), answer, shown=shown)


def tell(thing: Thing) -> str:
    """What it does: `The red circle moves to the right.`"""
    if thing.place == "stays":
        return f"The {thing.name} does not move."
    return f"The {thing.name} {thing.place if thing.place in GROWTH else f'moves {thing.place}'}."


def ask(thing: Thing, still: Thing | None, rng: random.Random) -> tuple[str, str]:
    """A question about what happens, and its answer."""
    kind = rng.randrange(8)
    if kind < 4:
        return rng.choice(DESCRIBE), "Nothing happens." if thing.place == "stays" else tell(thing)
    if kind == 4:
        return "What moves?", f"The {thing.name}." if thing.place in PATHS else "Nothing."
    asked = still if still is not None and rng.random() < 0.4 else thing
    if kind == 5:
        return f"Does the {asked.shape} move?", "Yes." if asked.place in PATHS else "No."
    if kind == 6:
        way = asked.place.capitalize() if asked.place in PATHS else f"The {asked.shape} does not move"
        return f"Where does the {asked.shape} move?", f"{way}."
    return f"What does the {asked.shape} do?", tell(asked).replace(f"The {asked.name}", "It")


def draw_frames(thing: Thing, still: Thing | None, rng: random.Random) -> list[np.ndarray]:
    """Three to eight RGB frames of one size, 160 or 224 pixels, each (H, W, 3) uint8."""
    side = rng.choice((160, 224))
    ground = draw_ground(rng, (side, side))
    count = rng.randint(3, 8)
    drift = rng.uniform(-0.06, 0.06)  # of the whole way, across it
    color, radius = shade(COLORS[thing.color], rng), rng.uniform(*SIZES["middle"])
    begin, end = PATHS.get(thing.place, ((0.5, 0.5), (0.5, 0.5)))
    small, large = GROWTH.get(thing.place, (radius, radius))
    aside = _aside(thing, rng)
    hue = shade(COLORS[still.color], rng) if still else (0, 0, 0)
    frames = []
    for number in range(count):
        part = number / (count - 1)
        frame = ground.copy()
        pen = ImageDraw.Draw(frame)
        x, y = (low + (high - low) * part for low, high in zip(begin, end, strict=True))
        if still:
            paint(pen, still, *aside, 0.09, hue)
        upright = thing.place in ("up", "down")
        paint(pen, thing, x + drift * upright, y + drift * (not upright), small + (large - small) * part, color)
        frames.append(np.asarray(frame))
    return frames


def _aside(thing: Thing, rng: random.Random) -> tuple[float, float]:
    """A place beside the way of the thing."""
    far = rng.choice((0.14, 0.86))
    return (far, rng.uniform(0.2, 0.8)) if thing.place in ("up", "down") else (rng.uniform(0.2, 0.8), far)
