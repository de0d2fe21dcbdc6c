"""Drawn images: one or two coloured objects on a plain background.

Objects are drawn in a square of `radius` around their centre, all lengths in pixels.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image, ImageDraw

from phi4mm.nano.synth.split import Split, draw

Color: TypeAlias = tuple[int, int, int]
Draw: TypeAlias = ImageDraw.ImageDraw

COLORS: dict[str, Color] = {
    "red": (220, 30, 35), "blue": (35, 70, 215), "green": (35, 150, 55), "yellow": (245, 215, 30),
    "orange": (250, 135, 20), "purple": (130, 45, 170), "black": (25, 25, 25), "pink": (250, 130, 190),
}  # fmt: skip
POSITIONS: dict[str, tuple[float, float]] = {
    "in the middle": (0.5, 0.5),
    "on the left": (0.2, 0.5),
    "on the right": (0.8, 0.5),
    "at the top": (0.5, 0.2),
    "at the bottom": (0.5, 0.8),
}
OPPOSITE = (("on the left", "on the right"), ("at the top", "at the bottom"))
GROUNDS: tuple[Color, ...] = (
    (244, 240, 228), (226, 238, 246), (232, 244, 230), (246, 232, 232), (236, 236, 236), (214, 222, 230),
    (238, 232, 246),
)  # fmt: skip
SIZES = (
    *((224, 224),) * 12, *((200, 200), (180, 180), (160, 160), (220, 180), (170, 220)) * 2, (320, 240), (300, 200),
    (200, 300), (440, 220), (448, 448), (512, 384), (640, 480),
)  # fmt: skip


@dataclass(frozen=True)
class Thing:
    """A coloured object and its position, such as "on the left"."""

    shape: str
    color: str
    position: str


@dataclass(frozen=True)
class Scene:
    """One thing, or two of different shape and colour at opposite positions."""

    things: tuple[Thing, ...]


def make_scene(split: Split, rng: random.Random, count: int) -> Scene:
    """A scene of `count` (1 or 2) things, each a combination of shape, colour and position that belongs to `split`."""
    positions = rng.choice(OPPOSITE) if count == 2 else (rng.choice(tuple(POSITIONS)),)
    things: list[Thing] = []
    for position in positions:
        shapes = [shape for shape in SHAPES if shape not in {thing.shape for thing in things}]
        colors = [color for color in COLORS if color not in {thing.color for thing in things}]
        things.append(_make_thing(split, rng, shapes, colors, position))
    return Scene(tuple(things))


def _make_thing(split: Split, rng: random.Random, shapes: list[str], colors: list[str], position: str) -> Thing:
    def make(rng: random.Random) -> Thing:
        return Thing(rng.choice(shapes), rng.choice(colors), position)

    return draw(split, rng, make, lambda thing: (thing.shape, thing.color, thing.position))


def draw_scene(scene: Scene, rng: random.Random) -> Image.Image:
    """The scene as an RGB image with sides of 160 to 640 pixels; size, background, offsets, noise from `rng`."""
    width, height = rng.choice(SIZES)
    image = Image.new("RGB", (width, height), rng.choice(GROUNDS))
    pen = ImageDraw.Draw(image)
    for thing in scene.things:
        across, down = POSITIONS[thing.position]
        x = (across + rng.uniform(-0.04, 0.04)) * width
        y = (down + rng.uniform(-0.04, 0.04)) * height
        color = _shade(COLORS[thing.color], rng)
        SHAPES[thing.shape](pen, x, y, rng.uniform(0.11, 0.18) * min(width, height), color)
    return add_grain(image, rng)


def add_grain(image: Image.Image, rng: random.Random) -> Image.Image:
    """The image with a little noise, as from a camera; half of the time unchanged."""
    if rng.random() < 0.5:
        return image
    noise = Image.frombytes("L", image.size, rng.randbytes(image.width * image.height))
    return Image.blend(image, noise.convert("RGB"), rng.uniform(0.01, 0.06))


def _shade(color: Color, rng: random.Random) -> Color:
    red, green, blue = (max(0, min(255, round(part + rng.uniform(-12, 12)))) for part in color)
    return red, green, blue


def _circle(pen: Draw, x: float, y: float, radius: float, color: Color) -> None:
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)


def _square(pen: Draw, x: float, y: float, radius: float, color: Color) -> None:
    side = 0.88 * radius
    pen.rectangle((x - side, y - side, x + side, y + side), fill=color)


def _triangle(pen: Draw, x: float, y: float, radius: float, color: Color) -> None:
    pen.polygon(_ring(x, y, (radius,), 3), fill=color)


def _star(pen: Draw, x: float, y: float, radius: float, color: Color) -> None:
    pen.polygon(_ring(x, y, (radius, 0.42 * radius), 10), fill=color)


def _heart(pen: Draw, x: float, y: float, radius: float, color: Color) -> None:
    half = radius / 2
    pen.ellipse((x - radius, y - 0.8 * radius, x, y + 0.2 * radius), fill=color)
    pen.ellipse((x, y - 0.8 * radius, x + radius, y + 0.2 * radius), fill=color)
    pen.polygon(((x - 0.93 * radius, y), (x + 0.93 * radius, y), (x, y + radius)), fill=color)
    pen.rectangle((x - half, y - 0.35 * radius, x + half, y), fill=color)


def _house(pen: Draw, x: float, y: float, radius: float, color: Color) -> None:
    pen.polygon(((x - radius, y - 0.1 * radius), (x, y - radius), (x + radius, y - 0.1 * radius)), fill=color)
    pen.rectangle((x - 0.75 * radius, y - 0.1 * radius, x + 0.75 * radius, y + radius), fill=color)
    pen.rectangle((x - 0.2 * radius, y + 0.35 * radius, x + 0.2 * radius, y + radius), fill=(250, 250, 250))


def _tree(pen: Draw, x: float, y: float, radius: float, color: Color) -> None:
    pen.rectangle((x - 0.16 * radius, y, x + 0.16 * radius, y + radius), fill=(125, 85, 50))
    for top, wide in ((-1.0, 0.55), (-0.6, 0.75), (-0.15, 0.95)):
        corners = ((x, y + top * radius), (x - wide * radius, y + (top + 0.65) * radius),
                   (x + wide * radius, y + (top + 0.65) * radius))  # fmt: skip
        pen.polygon(corners, fill=color)


def _car(pen: Draw, x: float, y: float, radius: float, color: Color) -> None:
    pen.rectangle((x - radius, y - 0.1 * radius, x + radius, y + 0.45 * radius), fill=color)
    roof = ((x - 0.6 * radius, y - 0.1 * radius), (x - 0.4 * radius, y - 0.6 * radius),
            (x + 0.4 * radius, y - 0.6 * radius), (x + 0.65 * radius, y - 0.1 * radius))  # fmt: skip
    pen.polygon(roof, fill=color)
    for wheel in (x - 0.55 * radius, x + 0.55 * radius):
        _circle(pen, wheel, y + 0.5 * radius, 0.27 * radius, (60, 60, 60))
        _circle(pen, wheel, y + 0.5 * radius, 0.12 * radius, (220, 220, 220))


def _cup(pen: Draw, x: float, y: float, radius: float, color: Color) -> None:
    handle = (x + 0.2 * radius, y - 0.45 * radius, x + radius, y + 0.45 * radius)
    pen.arc(handle, -110, 110, fill=color, width=max(2, round(0.18 * radius)))
    body = ((x - 0.8 * radius, y - 0.8 * radius), (x + 0.6 * radius, y - 0.8 * radius),
            (x + 0.42 * radius, y + 0.9 * radius), (x - 0.62 * radius, y + 0.9 * radius))  # fmt: skip
    pen.polygon(body, fill=color)


def _fish(pen: Draw, x: float, y: float, radius: float, color: Color) -> None:
    pen.ellipse((x - radius, y - 0.55 * radius, x + 0.5 * radius, y + 0.55 * radius), fill=color)
    pen.polygon(((x + 0.3 * radius, y), (x + radius, y - 0.6 * radius), (x + radius, y + 0.6 * radius)), fill=color)
    _circle(pen, x - 0.55 * radius, y - 0.12 * radius, 0.12 * radius, (250, 250, 250))


def _ring(x: float, y: float, radii: tuple[float, ...], count: int) -> list[tuple[float, float]]:
    """`count` points around (x, y), the first at the top, at the radii in turn."""
    points = []
    for n in range(count):
        angle = 2 * math.pi * n / count
        radius = radii[n % len(radii)]
        points.append((x + radius * math.sin(angle), y - radius * math.cos(angle)))
    return points


SHAPES: dict[str, Callable[[Draw, float, float, float, Color], None]] = {
    "circle": _circle, "square": _square, "triangle": _triangle, "star": _star, "heart": _heart,
    "house": _house, "tree": _tree, "car": _car, "cup": _cup, "fish": _fish,
}  # fmt: skip
