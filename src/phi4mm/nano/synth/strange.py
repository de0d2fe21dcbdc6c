"""Pictures without anything that nano knows: noise, strong gradients, patterns, textures as in photographs."""

from __future__ import annotations

import random
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFilter, ImageOps

from phi4mm.nano.synth.scene import SIZES, Color
from phi4mm.nano.synth.split import Split, draw

KINDS = ("noise", "clouds", "gradient", "stripes", "checks", "scribble", "blobs")


@dataclass(frozen=True)
class Strange:
    """What a strange picture is made of: one of KINDS, and two colours."""

    kind: str
    first: Color
    second: Color

    @property
    def key(self) -> tuple[str, ...]:
        """Kind and first colour, to an eighth of each channel."""
        return (self.kind, *(str(part // 32) for part in self.first))


def make_strange(split: Split, rng: random.Random) -> Strange:
    """A strange picture whose key belongs to `split`."""

    def make(rng: random.Random) -> Strange:
        red, green, blue = rng.randrange(256), rng.randrange(256), rng.randrange(256)
        return Strange(rng.choice(KINDS), (red, green, blue), (255 - green, (blue + 128) % 256, 255 - red))

    return draw(split, rng, make, lambda strange: strange.key)


def draw_strange(strange: Strange, rng: random.Random) -> Image.Image:
    """The picture, RGB, with sides of 160 to 640 pixels."""
    size = rng.choice(SIZES)
    if strange.kind in ("stripes", "checks", "scribble", "blobs"):
        return _draw_pattern(strange.kind, size, strange.first, strange.second, rng)
    return ImageOps.colorize(_draw_texture(strange.kind, size, rng), strange.first, strange.second)


def _draw_texture(kind: str, size: tuple[int, int], rng: random.Random) -> Image.Image:
    """A grey texture, one channel."""
    if kind == "noise":
        side = rng.choice((1, 2, 4))
        small = (size[0] // side, size[1] // side)
        return Image.frombytes("L", small, rng.randbytes(small[0] * small[1])).resize(size, Image.Resampling.NEAREST)
    if kind == "gradient":
        gradient = Image.linear_gradient("L") if rng.random() < 0.6 else Image.radial_gradient("L")
        return gradient.rotate(rng.choice((0, 90, 180, 270))).resize(size)
    clouds = Image.new("L", size, 128)
    for cells, share in ((3, 1.0), (7, 0.45), (16, 0.35), (40, 0.25), (90, 0.15)):
        octave = Image.frombytes("L", (cells, cells), rng.randbytes(cells * cells))
        clouds = Image.blend(clouds, octave.resize(size, Image.Resampling.BICUBIC), share)
    return ImageOps.autocontrast(clouds)


def _draw_pattern(kind: str, size: tuple[int, int], first: Color, second: Color, rng: random.Random) -> Image.Image:
    image = Image.new("RGB", size, first)
    pen = ImageDraw.Draw(image)
    width, height = size
    step = rng.randint(10, 60)
    if kind == "stripes":
        slope = rng.choice((0, 0, height, -height // 2))
        for x in range(-2 * width, 3 * width, 2 * step):
            pen.polygon(((x, 0), (x + step, 0), (x + step + slope, height), (x + slope, height)), fill=second)
    elif kind == "checks":
        for row in range(0, height, step):
            for column in range(row // step % 2 * step, width, 2 * step):
                pen.rectangle((column, row, column + step - 1, row + step - 1), fill=second)
    elif kind == "scribble":
        points = [(rng.randrange(width), rng.randrange(height)) for _ in range(rng.randint(20, 60))]
        pen.line(points, fill=second, width=rng.randint(1, 5))
    else:
        for _ in range(rng.randint(30, 90)):
            x, y, radius = rng.randrange(width), rng.randrange(height), rng.randint(5, 40)
            color = tuple(rng.randrange(256) for _ in range(3))
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)
        image = image.filter(ImageFilter.BoxBlur(rng.choice((0, 3, 8))))
    return image
