"""Things that scenes and films are made of, where they stand, and the ground they are drawn on.

Lengths are fractions of the picture's shorter side, positions fractions of width and height.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from phi4mm.nano.synth import scene
from phi4mm.nano.synth.questions import article
from phi4mm.nano.synth.scene import Color, Draw, add_grain
from phi4mm.nano.synth.split import Split, draw, is_held_out

COLORS: dict[str, Color] = {**scene.COLORS, "brown": (125, 80, 45), "grey": (130, 130, 130)}
PLACES: dict[str, tuple[float, float]] = {  # in reading order
    "at the top left": (0.2, 0.2), "at the top": (0.5, 0.2), "at the top right": (0.8, 0.2),
    "on the left": (0.2, 0.5), "in the middle": (0.5, 0.5), "on the right": (0.8, 0.5),
    "at the bottom left": (0.2, 0.8), "at the bottom": (0.5, 0.8), "at the bottom right": (0.8, 0.8),
}  # fmt: skip
SIZES = {"small": (0.06, 0.072), "middle": (0.095, 0.11), "large": (0.138, 0.15)}


@dataclass(frozen=True)
class Thing:
    """A coloured shape at one of PLACES, in one of SIZES."""

    shape: str
    color: str
    place: str
    size: str = "middle"

    @property
    def name(self) -> str:
        """Such as `red star`."""
        return f"{self.color} {self.shape}"

    @property
    def at(self) -> tuple[float, float]:
        """The middle of its place."""
        return PLACES[self.place]


def make_thing(
    split: Split, rng: random.Random, shapes: Sequence[str], colors: Sequence[str], places: Sequence[str]
) -> Thing:
    """A thing whose shape, colour and place together belong to `split`, which must have one."""

    def make(rng: random.Random) -> Thing:
        return Thing(rng.choice(shapes), rng.choice(colors), rng.choice(places), rng.choice(tuple(SIZES)))

    return draw(split, rng, make, lambda thing: (thing.shape, thing.color, thing.place))


def combinations(
    split: Split, shapes: Sequence[str], colors: Sequence[str], places: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
    """The combinations of shape, colour and place that belong to `split`."""
    held_out = split == "held_out"
    return (each for each in itertools.product(shapes, colors, places) if is_held_out(*each) == held_out)


def a(name: str) -> str:
    """`a red star`, `an orange cup`."""
    return f"{article(name).lower()} {name}"


def draw_ground(rng: random.Random, size: tuple[int, int]) -> Image.Image:
    """An empty picture: white or a pale colour, seldom paler towards the bottom."""
    kind = rng.random()
    if kind < 0.3:
        return Image.new("RGB", size, "white")
    color = (rng.randint(212, 250), rng.randint(212, 250), rng.randint(212, 250))
    if kind < 0.85:
        return Image.new("RGB", size, color)
    fade = Image.linear_gradient("L").resize(size)
    return Image.composite(Image.new("RGB", size, "white"), Image.new("RGB", size, color), fade)


def draw_things(things: Sequence[Thing], rng: random.Random, size: tuple[int, int]) -> Image.Image:
    """The things on a ground, as an RGB image of `size`, each a little beside the middle of its place."""
    image = draw_ground(rng, size)
    pen = ImageDraw.Draw(image)
    for thing in things:
        x, y = (part + rng.uniform(-0.03, 0.03) for part in thing.at)
        paint(pen, thing, x, y, rng.uniform(*SIZES[thing.size]), shade(COLORS[thing.color], rng))
    return add_grain(image, rng)


def paint(pen: Draw, thing: Thing, x: float, y: float, radius: float, color: Color) -> None:
    """Draw the shape of `thing` around (x, y)."""
    width, height = pen.im.size
    SHAPES[thing.shape](pen, x * width, y * height, radius * min(width, height), color)


def shade(color: Color, rng: random.Random) -> Color:
    """Nearly the same colour."""
    red, green, blue = (max(0, min(255, part + rng.randint(-12, 12))) for part in color)
    return red, green, blue


def _diamond(pen: Draw, x: float, y: float, radius: float, color: Color) -> None:
    pen.polygon(((x, y - radius), (x + 0.7 * radius, y), (x, y + radius), (x - 0.7 * radius, y)), fill=color)


def _cross(pen: Draw, x: float, y: float, radius: float, color: Color) -> None:
    third = radius / 3
    pen.rectangle((x - third, y - radius, x + third, y + radius), fill=color)
    pen.rectangle((x - radius, y - third, x + radius, y + third), fill=color)


def _ring(pen: Draw, x: float, y: float, radius: float, color: Color) -> None:
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=color, width=max(2, round(0.36 * radius)))


def _flower(pen: Draw, x: float, y: float, radius: float, color: Color) -> None:
    petal = 0.36 * radius
    for across, down in ((0, -0.64), (0.61, -0.2), (0.38, 0.52), (-0.38, 0.52), (-0.61, -0.2)):
        u, v = x + across * radius, y + down * radius
        pen.ellipse((u - petal, v - petal, u + petal, v + petal), fill=color)
    center = 0.4 * radius
    pen.ellipse((x - center, y - center, x + center, y + center), fill=(255, 250, 235), outline=color)


def _boat(pen: Draw, x: float, y: float, radius: float, color: Color) -> None:
    hull = ((x - radius, y + 0.3 * radius), (x + radius, y + 0.3 * radius), (x + 0.6 * radius, y + 0.85 * radius),
            (x - 0.6 * radius, y + 0.85 * radius))  # fmt: skip
    pen.polygon(hull, fill=color)
    pen.polygon(((x + 0.06 * radius, y - radius), (x + 0.06 * radius, y + 0.15 * radius),
                 (x + 0.85 * radius, y + 0.15 * radius)), fill=color)  # fmt: skip
    pen.line((x, y - radius, x, y + 0.3 * radius), fill=color, width=max(1, round(0.1 * radius)))


def _lamp(pen: Draw, x: float, y: float, radius: float, color: Color) -> None:
    pen.polygon(((x - 0.4 * radius, y - radius), (x + 0.4 * radius, y - radius), (x + 0.85 * radius, y),
                 (x - 0.85 * radius, y)), fill=color)  # fmt: skip
    stem = 0.09 * radius
    pen.rectangle((x - stem, y, x + stem, y + 0.85 * radius), fill=color)
    pen.rectangle((x - 0.55 * radius, y + 0.8 * radius, x + 0.55 * radius, y + radius), fill=color)


SHAPES: dict[str, Callable[[Draw, float, float, float, Color], None]] = {
    **scene.SHAPES, "diamond": _diamond, "cross": _cross, "ring": _ring, "flower": _flower, "boat": _boat,
    "lamp": _lamp,
}  # fmt: skip
