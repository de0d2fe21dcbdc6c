"""Public-domain drawings to name, alone and side by side: Debian's package `openclipart-png`, never shipped.

    apt-get install openclipart-png

They are read from the folder in PHI4MM_DRAWINGS, /usr/share/openclipart/png by default. Of each kind an eighth of the
drawings, at least one, is held out; those whose names differ only in a colour or in `bw` go together.
"""

from __future__ import annotations

import fnmatch
import functools
import os
import random
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageEnhance

from phi4mm.errors import ConfigError
from phi4mm.nano.synth.drawing_kinds import KINDS
from phi4mm.nano.synth.example import Example, Speaker
from phi4mm.nano.synth.objects import PLACES, a, draw_ground
from phi4mm.nano.synth.questions import DESCRIBE
from phi4mm.nano.synth.scene import add_grain
from phi4mm.nano.synth.split import HELD_OUT_ONE_IN, Split
from phi4mm.protocol.messages import Image, Message

TASKS = ("drawing", "drawings")
MOST_PIXELS = 8_000_000  # of a file; eight are larger
MOST_DRAWINGS = 60  # of a kind
SIDE = 192  # pixels of the longer side that is kept
NAME = ("What is this?", "What is this?", "What is drawn here?", "What does this drawing show?", "Name the object.")
IGNORED = set("bw ganson aj red blue green yellow purple orange black white seagreen pink".split())
LAYOUTS = (
    ("on the left", "on the right"), ("at the top", "at the bottom"),
    ("on the left", "in the middle", "on the right"), ("on the left", "on the right", "at the bottom"),
)  # fmt: skip


@dataclass(frozen=True)
class Collection:
    """The drawings of each kind, by split."""

    train: dict[str, tuple[Path, ...]]
    held_out: dict[str, tuple[Path, ...]]

    def of(self, split: Split) -> dict[str, tuple[Path, ...]]:
        """The drawings of `split`."""
        return self.train if split == "train" else self.held_out


def make(task: str, split: Split, rng: random.Random, _speak: Speaker) -> Example:
    """A drawing to name or, for `drawings`, two or three of different kinds at their places. Raises ConfigError."""
    drawings = collection(folder()).of(split)
    if task == "drawing":
        kind = rng.choice(tuple(drawings))
        image = place_drawings([(rng.choice(drawings[kind]), (0.5, 0.5), rng.uniform(0.5, 0.92))], rng, _size(rng))
        style = rng.random()
        if style < 0.25:
            question, answer = rng.choice(DESCRIBE), f"A drawing of {a(kind)}."
        elif style < 0.35:
            asked = kind if rng.random() < 0.5 else rng.choice(tuple(drawings))
            question, answer = f"Is there {a(asked)}?", "Yes." if asked == kind else "No."
        else:
            question, answer = rng.choice(NAME), _sentence(a(kind))
        return Example(task, (Message.user(Image(np.asarray(image)), question),), (), answer, shown=kind)
    places = rng.choice(LAYOUTS)
    kinds = dict(zip(places, rng.sample(tuple(drawings), len(places)), strict=True))
    share = rng.uniform(0.3, 0.4)
    placed = [(rng.choice(drawings[kind]), PLACES[place], share) for place, kind in kinds.items()]
    question, answer = ask(kinds, tuple(drawings), rng)
    image = place_drawings(placed, rng, rng.choice(((224, 224), (320, 240), (448, 336), (448, 448))))
    return Example(task, (Message.user(Image(np.asarray(image)), question),), (), answer, shown=describe(kinds))


def describe(kinds: dict[str, str]) -> str:
    """The kinds at their places: `A dog on the left and a clock on the right.`"""
    *parts, last = [f"{a(kind)} {place}" for place, kind in kinds.items()]
    return _sentence(f"{', '.join(parts)} and {last}")


def ask(kinds: dict[str, str], all_kinds: tuple[str, ...], rng: random.Random) -> tuple[str, str]:
    """A question about drawings at places, and its answer."""
    style = rng.randrange(6)
    place, kind = rng.choice(tuple(kinds.items()))
    if style < 2:
        return rng.choice(DESCRIBE), describe(kinds)
    if style == 2:
        return f"What is {place}?", _sentence(a(kind))
    asked = kind if rng.random() < 0.5 else rng.choice(all_kinds)
    if style == 3:
        return f"Is there {a(asked)}?", "Yes." if asked in kinds.values() else "No."
    found = [place for place, kind in kinds.items() if kind == asked]
    return f"Where is the {asked}?", _sentence(found[0]) if found else f"There is no {asked}."


def place_drawings(
    placed: list[tuple[Path, tuple[float, float], float]], rng: random.Random, size: tuple[int, int]
) -> PillowImage.Image:
    """Drawings on a ground, each around its place and with a longer side of its share of the shorter side."""
    image = draw_ground(rng, size).convert("RGBA")
    width, height = size
    for path, (across, down), share in placed:
        drawing = _vary(load(path), round(share * min(size)), rng)
        free = width - drawing.width, height - drawing.height
        x, y = (int(part + rng.uniform(-0.04, 0.04) * min(size)) for part in (
            across * width - drawing.width / 2, down * height - drawing.height / 2))  # fmt: skip
        image.alpha_composite(drawing, (max(0, min(free[0], x)), max(0, min(free[1], y))))
    return add_grain(image.convert("RGB"), rng)


@functools.cache
def collection(folder: Path) -> Collection:
    """The drawings below `folder` that show one of KINDS, by split. Raises ConfigError when some lack."""
    paths = {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.png"))}
    paths = {name: path for name, path in paths.items() if not path.is_symlink()}
    train, held_out = {}, {}
    for kind, patterns in KINDS.items():
        compiled = _compile(patterns)
        names = [name for name in paths if _shows(name, compiled) and _pixels(paths[name]) <= MOST_PIXELS]
        names = sorted(names, key=_rank)[:MOST_DRAWINGS]
        groups = sorted({_group(name) for name in names}, key=_rank)
        held = set(groups[: max(1, round(len(groups) / HELD_OUT_ONE_IN))])
        train[kind] = tuple(paths[name] for name in names if _group(name) not in held)
        held_out[kind] = tuple(paths[name] for name in names if _group(name) in held)
        paths = {name: path for name, path in paths.items() if name not in names}
    if not all(train.values()):
        raise ConfigError(f"{folder} lacks drawings; install Debian's openclipart-png or set PHI4MM_DRAWINGS")
    return Collection(train, held_out)


@functools.cache
def load(path: Path) -> PillowImage.Image:
    """A drawing, RGBA, cut to what is drawn, at most SIDE pixels long."""
    with PillowImage.open(path) as file:
        drawing = file.convert("RGBA")
    drawing = drawing.crop(drawing.getchannel("A").getbbox())
    drawing.thumbnail((SIDE, SIDE))
    return drawing


def folder() -> Path:
    """Where the drawings are."""
    return Path(os.environ.get("PHI4MM_DRAWINGS", "/usr/share/openclipart/png"))


def _vary(drawing: PillowImage.Image, longest: int, rng: random.Random) -> PillowImage.Image:
    """The drawing at another size, turned, slanted, stretched and mirrored, its colours stronger or weaker."""
    scale = longest / max(drawing.size)
    size = (max(1, round(drawing.width * scale * rng.uniform(0.85, 1.15))), max(1, round(drawing.height * scale)))
    varied = drawing.resize(size, PillowImage.Resampling.BILINEAR)
    if rng.random() < 0.6:
        varied = varied.rotate(rng.uniform(-18, 18), PillowImage.Resampling.BILINEAR, expand=True)
    if rng.random() < 0.4:
        slant = rng.uniform(-0.25, 0.25)
        matrix = (1, slant, -slant * varied.height / 2, 0, 1, 0)
        varied = varied.transform(varied.size, PillowImage.Transform.AFFINE, matrix, PillowImage.Resampling.BILINEAR)
    if rng.random() < 0.5:
        varied = varied.transpose(PillowImage.Transpose.FLIP_LEFT_RIGHT)
    for enhance, least, most in (
        (ImageEnhance.Brightness, 0.7, 1.2), (ImageEnhance.Color, 0.2, 1.6), (ImageEnhance.Contrast, 0.6, 1.3),
    ):  # fmt: skip
        if rng.random() < 0.4:
            varied = enhance(varied).enhance(rng.uniform(least, most))
    varied.thumbnail((longest, longest))
    return varied


def _shows(name: str, patterns: tuple[re.Pattern[str], re.Pattern[str]]) -> bool:
    """Whether the path, or the name at its end, matches one of two patterns."""
    return bool(patterns[0].match(name) or patterns[1].match(name.rsplit("/", 1)[-1]))


def _compile(patterns: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What matches the paths, and what matches the names, that the patterns of a kind mean."""
    of_paths, of_names = ([each for each in patterns if ("/" in each) == whole] for whole in (True, False))
    return _any_of(of_paths), _any_of(of_names)


def _any_of(patterns: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(each) for each in patterns) or "(?!)")


def _group(name: str) -> str:
    """A name without colours, `bw` and the names of two authors whose drawings come in pairs."""
    words = re.split(r"[-_]+", re.sub(r"_jean-v.*", "", name.rsplit("/", 1)[-1]))
    return "_".join(word for word in words if word not in IGNORED)


def _rank(name: str) -> int:
    return zlib.crc32(name.encode())


def _pixels(path: Path) -> int:
    """Width times height, as the header of a PNG file says."""
    with path.open("rb") as file:
        width, height = struct.unpack(">II", file.read(24)[16:])
    return int(width) * int(height)


def _size(rng: random.Random) -> tuple[int, int]:
    return rng.choice(((224, 224), (224, 224), (200, 200), (180, 220), (320, 240), (448, 448)))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
