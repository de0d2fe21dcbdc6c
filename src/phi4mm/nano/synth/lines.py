"""Printed words to read: one line on one crop, one to four lines, and boards with a word or two.

A line is a sentence, some words, a name, number, date or code, printed in any font, size and colour, a little turned,
with more or less contrast and noise. The answer is the text itself, its lines as they are printed.
"""

from __future__ import annotations

import random
import string

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw

from phi4mm.nano.synth import fonts, sentences, strings
from phi4mm.nano.synth.example import LANGUAGES, Example, Language, Speaker
from phi4mm.nano.synth.fonts import Font
from phi4mm.nano.synth.language.grammar import render, sentence
from phi4mm.nano.synth.questions import DESCRIBE
from phi4mm.nano.synth.scene import Color, add_grain
from phi4mm.nano.synth.signs import BACKDROPS, BLACK, BLUE, GREEN, RED, WHITE
from phi4mm.nano.synth.split import Split, draw
from phi4mm.protocol.messages import Image, Message

TASKS = ("line", "lines", "board")
CROP = 224
READ = (
    "What does the text say?", "Read the text.", "Read this text.", "What is written here?", "What does it say?",
    "Write down the text in the image.", "Extract the text.", "Transcribe the text in this image.",
    "What text is in the picture?", "OCR",
)  # fmt: skip
READ_BOARD = ("What does the sign say?", "Read the sign.", "What is written on the sign?")
BOARDS = (
    "bakery", "bank", "bar", "books", "bus stop", "cafe", "car park", "cinema", "coffee", "danger", "dentist", "doctor",
    "enter", "entrance", "fire exit", "fish", "flowers", "food", "for rent", "for sale", "fresh bread", "garage",
    "hospital", "hot soup", "hotel", "ice cream", "information", "keep left", "keep right", "kitchen", "library",
    "market", "museum", "no dogs", "no parking", "no smoking", "office", "pharmacy", "pizza", "platform", "police",
    "post office", "private", "pull", "push", "quiet please", "reception", "sale", "school", "shoes", "slow", "stairs",
    "station", "taxi", "tea room", "tickets", "toilets", "toys", "wait here", "way out", "welcome", "wet paint",
)  # fmt: skip


def make(task: str, split: Split, rng: random.Random, _speak: Speaker) -> Example:
    """An image of printed text, a request to read it, and the text; every line belongs to `split`, so does the font."""
    if task == "board":
        return _make_board(split, rng)
    count = 1 if task == "line" else rng.choice((1, 2, 2, 3, 3, 4))
    width, size = (CROP, rng.randint(13, 40)) if task == "line" else (rng.choice((224, 336, 448)), rng.randint(14, 40))
    font = fonts.load(rng.choice(fonts.draw_family(split, rng)), size)
    language = draw_language(rng)
    drawn = [fit_line(split, rng, language, font, width - 16) for _ in range(count)]
    text = "\n".join(drawn)
    image = draw_lines(drawn, font, rng, width, CROP if task == "line" else None)
    if rng.random() < 0.04:
        return _example(task, image, rng.choice(DESCRIBE), "A text.", text)
    return _example(task, image, rng.choice(READ), text, text)


def make_sentence(split: Split, rng: random.Random, language: Language) -> str:
    """A sentence of at most eight English words, in any language; its text belongs to `split`."""
    if language == "en" and rng.random() < 0.3:
        return sentences.make_sentence(split, rng)
    return draw(split, rng, lambda rng: render(sentence(split, rng, 8), language), lambda text: (text,))


def draw_language(rng: random.Random) -> Language:
    """English half of the time, else one of the others."""
    return "en" if rng.random() < 0.5 else rng.choice(LANGUAGES[1:])


def make_line(split: Split, rng: random.Random, language: Language) -> str:
    """A line of text that belongs to `split`."""
    if rng.random() < 0.5:
        return make_sentence(split, rng, language)
    return draw(split, rng, _line, lambda text: (text,))


def fit_line(split: Split, rng: random.Random, language: Language, font: Font, width: int) -> str:
    """A line of `split` that `font` prints within `width` pixels; a short number if most are too long."""
    for _ in range(12):
        if font.getlength(text := make_line(split, rng, language)) <= width:
            return text
    return draw(split, rng, lambda rng: str(rng.randrange(1000)), lambda text: (text,))


def draw_lines(lines: list[str], font: Font, rng: random.Random, width: int, height: int | None) -> PillowImage.Image:
    """The lines on a ground, `width` pixels wide and as high as they need unless `height` is given."""
    step = round(font.size * rng.uniform(1.2, 1.7))
    needed = step * len(lines)
    turn = rng.uniform(-2, 2) if rng.random() < 0.3 else 0.0
    margin = 10 if turn else 2
    height = height or needed + 2 * margin + rng.randint(4, 50)
    ink, paper = draw_ink(rng)
    image = PillowImage.new("RGB", (width, height), paper)
    pen = ImageDraw.Draw(image)
    broadest = max(font.getlength(line) for line in lines)
    x = rng.uniform(4, max(4.0, width - 4 - broadest)) if rng.random() < 0.7 else 6.0
    y = rng.uniform(margin, max(margin, height - needed - margin))
    for number, line in enumerate(lines):
        pen.text((x, y + number * step), line, fill=ink, font=font)
    if turn:
        image = image.rotate(turn, PillowImage.Resampling.BILINEAR, fillcolor=paper)
    return add_grain(image, rng)


def draw_ink(rng: random.Random) -> tuple[Color, Color]:
    """Colours of ink and paper that differ enough to read: mostly dark on light."""
    kind = rng.random()
    if kind < 0.35:
        return (0, 0, 0), (255, 255, 255)
    dark, light = _grey(rng, 0, 110), _grey(rng, 190, 255)
    return (dark, light) if kind < 0.85 else (light, dark)


def _grey(rng: random.Random, low: int, high: int) -> Color:
    """A colour whose parts lie between `low` and `high`."""
    return rng.randint(low, high), rng.randint(low, high), rng.randint(low, high)


def _line(rng: random.Random) -> str:
    kind = rng.randrange(8)
    if kind < 2:
        return strings.phrase(rng, 4)
    if kind == 2:
        return strings.made_up_name(rng)
    if kind == 3:
        return strings.number(rng)
    if kind == 4:
        return strings.date(rng)
    if kind == 5:
        return f"{rng.choice(strings.WORDS).capitalize()}: {rng.choice((strings.number, strings.made_up_name))(rng)}"
    if kind == 6:
        return rng.choice((strings.made_up_word, strings.real_word))(rng).upper()
    letters = string.ascii_uppercase.replace("I", "").replace("O", "") + string.digits
    return "-".join("".join(rng.choices(letters, k=rng.randint(1, 4))) for _ in range(rng.randint(1, 4)))


def make_board(split: Split, rng: random.Random) -> tuple[str, str]:
    """The words of a board and the name of its backdrop; the pair belongs to `split`."""

    def make(rng: random.Random) -> tuple[str, str]:
        return rng.choice(BOARDS), rng.choice(tuple(BACKDROPS))

    return draw(split, rng, make, lambda pair: ("board", *pair))


def _make_board(split: Split, rng: random.Random) -> Example:
    words, backdrop = make_board(split, rng)
    width, height = rng.choice(((224, 224), (224, 224), (320, 240), (300, 200), (448, 224)))
    above, below = BACKDROPS[backdrop]
    image = PillowImage.new("RGB", (width, height), above)
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, round(height * rng.uniform(0.6, 0.8)), width, height), fill=below)
    style, printed = (
        rng.choice(fonts.draw_family(split, rng)),
        rng.choice((words.upper(), words.upper(), words.title())),
    )
    size = min(60, int(20 * rng.uniform(0.5, 0.85) * width / fonts.load(style, 20).getlength(printed)))
    x, y = width * rng.uniform(0.48, 0.52), height * rng.uniform(0.35, 0.6)
    font = fonts.load(style, size)
    half = font.getlength(printed) / 2 + 0.5 * size
    color, ink = rng.choice(((BLUE, WHITE), (RED, WHITE), (GREEN, WHITE), (WHITE, BLACK), (BLACK, WHITE)))
    pen.rectangle((x - half, y - 0.9 * size, x + half, y + 0.9 * size), fill=color, outline=ink, width=2)
    pen.text((x, y), printed, fill=ink, font=font, anchor="mm")
    said = f"{words.capitalize()}."
    if rng.random() < 0.2:
        return _example("board", add_grain(image, rng), rng.choice(DESCRIBE), f"A sign that says: {said}", words)
    return _example("board", add_grain(image, rng), rng.choice(READ_BOARD), said, words)


def _example(task: str, image: PillowImage.Image, question: str, answer: str, shown: str) -> Example:
    return Example(task, (Message.user(Image(np.asarray(image)), question),), (), answer, shown=shown)
