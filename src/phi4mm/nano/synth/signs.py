"""Drawn images of road and shop signs, on a post under the sky or on a wall."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Literal, TypeAlias

from PIL import Image, ImageDraw, ImageFont

from phi4mm.nano.synth.scene import SIZES, Color, Draw, add_grain
from phi4mm.nano.synth.split import Split, draw

SignShape: TypeAlias = Literal["octagon", "triangle", "bar", "arrow", "ring", "square", "board"]
WHITE, BLACK, RED, BLUE, GREEN = (250, 250, 250), (20, 20, 20), (205, 25, 35), (25, 80, 180), (20, 130, 70)


@dataclass(frozen=True)
class Sign:
    """A sign: its name, the words written on it, its shape and its colour."""

    name: str
    words: str
    shape: SignShape
    color: Color


SIGNS = (
    Sign("stop sign", "STOP", "octagon", RED),
    Sign("yield sign", "YIELD", "triangle", RED),
    Sign("no entry sign", "", "bar", RED),
    Sign("one way sign", "ONE WAY", "arrow", BLUE),
    Sign("parking sign", "P", "square", BLUE),
    Sign("exit sign", "EXIT", "board", GREEN),
    Sign("open sign", "OPEN", "board", BLUE),
    Sign("closed sign", "CLOSED", "board", RED),
    *(Sign(f"speed limit {limit} sign", str(limit), "ring", RED) for limit in (20, 30, 40, 50, 60, 80)),
)
BACKDROPS: dict[str, tuple[Color, Color]] = {
    "day": ((170, 210, 240), (110, 160, 80)),
    "grey": ((200, 205, 210), (120, 120, 120)),
    "evening": ((245, 200, 160), (90, 110, 70)),
    "night": ((40, 50, 90), (30, 40, 30)),
    "snow": ((215, 228, 240), (246, 246, 250)),
    "brick": ((190, 120, 95), (190, 120, 95)),
    "plaster": ((238, 230, 210), (238, 230, 210)),
    "wood": ((205, 170, 125), (205, 170, 125)),
}


def make_sign(split: Split, rng: random.Random) -> tuple[Sign, str]:
    """A sign and the name of its backdrop; the pair belongs to `split`."""

    def make(rng: random.Random) -> tuple[Sign, str]:
        return rng.choice(SIGNS), rng.choice(tuple(BACKDROPS))

    return draw(split, rng, make, lambda pair: (pair[0].name, pair[1]))


def draw_sign(sign: Sign, backdrop: str, rng: random.Random) -> Image.Image:
    """The sign as an RGB image with sides of 160 to 640 pixels; size, position, noise from `rng`."""
    width, height = rng.choice(SIZES)
    above, below = BACKDROPS[backdrop]
    image = Image.new("RGB", (width, height), above)
    pen = ImageDraw.Draw(image)
    horizon = round(height * rng.uniform(0.6, 0.8))
    pen.rectangle((0, horizon, width, height), fill=below)
    radius = rng.uniform(0.26, 0.4) * min(width, height)
    x = width / 2 + rng.uniform(-1, 1) * (width / 2 - radius) * 0.6
    y = height / 2 + rng.uniform(-1, 0.4) * (height / 2 - radius) * 0.6
    if above != below:
        pen.rectangle((x - 0.06 * radius, y, x + 0.06 * radius, height), fill=(110, 110, 115))
    _draw_board(pen, sign, x, y, radius)
    return add_grain(image, rng)


def _draw_board(pen: Draw, sign: Sign, x: float, y: float, radius: float) -> None:
    if sign.shape == "octagon":
        pen.polygon(_corners(x, y, radius, 8, 22.5), fill=WHITE)
        pen.polygon(_corners(x, y, 0.92 * radius, 8, 22.5), fill=sign.color)
        _write(pen, sign.words, x, y, 1.5 * radius, WHITE)
    elif sign.shape == "triangle":
        pen.polygon(_corners(x, y - 0.2 * radius, 1.1 * radius, 3, 180), fill=sign.color)
        pen.polygon(_corners(x, y - 0.2 * radius, 0.8 * radius, 3, 180), fill=WHITE)
        _write(pen, sign.words, x, y - 0.3 * radius, 0.85 * radius, sign.color)
    elif sign.shape == "bar":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=sign.color)
        pen.rectangle((x - 0.7 * radius, y - 0.18 * radius, x + 0.7 * radius, y + 0.18 * radius), fill=WHITE)
    elif sign.shape == "arrow":
        points = ((-1.2, -0.3), (0.6, -0.3), (0.6, -0.6), (1.2, 0), (0.6, 0.6), (0.6, 0.3), (-1.2, 0.3))
        pen.polygon([(x + 0.9 * radius * u, y + radius * v) for u, v in points], fill=sign.color)
        _write(pen, sign.words, x - 0.15 * radius, y, 1.4 * radius, WHITE)
    elif sign.shape == "ring":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=sign.color)
        pen.ellipse((x - 0.78 * radius, y - 0.78 * radius, x + 0.78 * radius, y + 0.78 * radius), fill=WHITE)
        _write(pen, sign.words, x, y, 1.0 * radius, BLACK)
    else:
        tall = 0.95 if sign.shape == "square" else 0.5
        pen.rectangle((x - 1.02 * radius, y - tall * radius - 3, x + 1.02 * radius, y + tall * radius + 3), fill=WHITE)
        pen.rectangle((x - 0.98 * radius, y - tall * radius, x + 0.98 * radius, y + tall * radius), fill=sign.color)
        _write(pen, sign.words, x, y, (0.8 if sign.shape == "square" else 1.5) * radius, WHITE)


def _corners(x: float, y: float, radius: float, count: int, turn: float) -> list[tuple[float, float]]:
    angles = [math.radians(turn + 360 * n / count) for n in range(count)]
    return [(x + radius * math.sin(angle), y - radius * math.cos(angle)) for angle in angles]


def _write(pen: Draw, words: str, x: float, y: float, width: float, color: Color) -> None:
    """`words` centred on (x, y), as large as `width` allows."""
    size = width / ImageFont.load_default(20).getlength(words) * 20
    pen.text(
        (x, y),
        words,
        fill=color,
        font=ImageFont.load_default(size),
        anchor="mm",
        stroke_width=round(size / 24),
        stroke_fill=color,
    )
