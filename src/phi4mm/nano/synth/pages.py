"""Small pages to write as Markdown: headings, paragraphs, lists, tables, from 224 x 224 to some 900 x 1288 pixels.

There is one right Markdown for a page:

    # Title                       one `#`, first on the page if there is a title; `##` for headings below it
    A paragraph on one line.      as many printed lines as it needed
    - an item                     bullets; `1. an item` where the page prints numbers
    | Name | Price |              a table: a head, a line of `---`, one space around each cell
    | --- | --- |
    | Soup | 4.50 |

One empty line stands between blocks, none inside a list or table, none at the end.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw

from phi4mm.nano.synth import fonts, strings
from phi4mm.nano.synth.example import Example, Language, Speaker
from phi4mm.nano.synth.lines import draw_ink, draw_language, make_sentence
from phi4mm.nano.synth.questions import DESCRIBE
from phi4mm.nano.synth.scene import Color, Draw, add_grain
from phi4mm.nano.synth.skills import CITIES, ITEMS, NAMES
from phi4mm.nano.synth.split import Split, draw
from phi4mm.protocol.messages import Image, Message

TASKS = ("page",)
WRITE = (
    "Convert this page to Markdown.", "Convert the page to Markdown.", "Write this page as Markdown.",
    "Read this page and write it as Markdown.", "Convert the document to Markdown.", "Give me this page in Markdown.",
    "Extract this page as Markdown.", "Transcribe this page as Markdown.",
)  # fmt: skip
# Width and height in pixels, and how often: documents are scaled to a long side of 1288.
SIZES = {
    (224, 224): 4, (224, 320): 3, (336, 336): 3, (448, 448): 3, (448, 632): 3, (640, 448): 2, (632, 896): 2,
    (896, 672): 1, (910, 1288): 1, (996, 1288): 1,
}  # fmt: skip
HEADS: dict[str, Callable[[random.Random], str]] = {
    "Name": lambda rng: rng.choice((*NAMES, strings.made_up_name(rng))),
    "Item": lambda rng: rng.choice(ITEMS).capitalize(),
    "City": lambda rng: rng.choice(CITIES),
    "Price": lambda rng: f"{rng.randint(1, 60)}.{rng.randrange(10)}0",
    "Number": lambda rng: str(rng.randint(1, 999)),
    "Date": lambda rng: f"{rng.randint(1, 28):02}.{rng.randint(1, 12):02}.{rng.randint(2000, 2040)}",
    "Time": lambda rng: f"{rng.randrange(24)}:{rng.randrange(60):02}",
    "Code": lambda rng: f"{rng.choice('ABCDEFGHKLMNPRSTUVWXYZ')}{rng.randint(10, 999)}",
}

TITLE = (strings.real_word, strings.real_word, strings.made_up_word)


@dataclass(frozen=True)
class Style:
    """How a page is printed; lengths in pixels.

    plain, bold  names of fonts
    size         of the plain font
    step         from one printed line to the next
    """

    plain: str
    bold: str
    size: int
    step: int
    ink: Color
    centered: bool
    ruled: bool


class Page:
    """A page that is filled from the top; a block that does not fit is not printed."""

    def __init__(self, width: int, height: int, paper: Color, style: Style) -> None:
        self.image = PillowImage.new("RGB", (width, height), paper)
        self.pen: Draw = ImageDraw.Draw(self.image)
        self.style, self.margin = style, max(8, width // 24)
        self.y = float(self.margin)
        self.blocks: list[str] = []

    @property
    def room(self) -> float:
        """Pixels that are left below what is printed."""
        return self.image.height - self.margin - self.y

    @property
    def width(self) -> int:
        """Pixels between the margins."""
        return self.image.width - 2 * self.margin

    def add_heading(self, text: str, level: int) -> bool:
        """Print a heading of level 1 or 2; whether it fitted."""
        size = round(self.style.size * (1.6, 1.25)[level - 1])
        font = fonts.load(self.style.bold, size)
        if font.getlength(text) > self.width or self.room < 1.5 * size:
            return False
        across = (self.width - font.getlength(text)) / 2 if self.style.centered and level == 1 else 0
        self.pen.text((self.margin + across, self.y), text, fill=self.style.ink, font=font)
        self._close(f"{'#' * level} {text}", 1.3 * size)
        return True

    def add_paragraph(self, text: str) -> bool:
        """Print a paragraph; whether it fitted."""
        lines = _wrap(text, fonts.load(self.style.plain, self.style.size), self.width)
        if not lines or self.room < len(lines) * self.style.step:
            return False
        self._print(lines, self.margin)
        self._close(text, len(lines) * self.style.step)
        return True

    def add_list(self, items: list[str], numbered: bool) -> bool:
        """Print a list; whether it fitted."""
        font, step = fonts.load(self.style.plain, self.style.size), self.style.step
        marks = [f"{number}." if numbered else "•" for number in range(1, len(items) + 1)]
        indent = font.getlength(marks[-1]) + 0.5 * self.style.size
        wrapped = [_wrap(item, font, self.width - indent) for item in items]
        height = sum(map(len, wrapped)) * step
        if not all(wrapped) or self.room < height:
            return False
        y = self.y
        for mark, lines in zip(marks, wrapped, strict=True):
            self.pen.text((self.margin, self.y), mark, fill=self.style.ink, font=font)
            self._print(lines, self.margin + indent)
            self.y += len(lines) * step
        self.y = y
        shown = [mark if numbered else "-" for mark in marks]
        self._close("\n".join(f"{mark} {item}" for mark, item in zip(shown, items, strict=True)), height)
        return True

    def add_table(self, rows: list[list[str]]) -> bool:
        """Print a table whose first row is its head; whether it fitted."""
        plain, bold = (fonts.load(name, self.style.size) for name in (self.style.plain, self.style.bold))
        step, pad = round(1.15 * self.style.step), 0.5 * self.style.size
        used = [bold, *[plain] * (len(rows) - 1)]
        widths = [
            max(font.getlength(row[column]) for row, font in zip(rows, used, strict=True)) + 2 * pad
            for column in range(len(rows[0]))
        ]
        if sum(widths) > self.width or self.room < step * len(rows):
            return False
        spread = min((self.width - sum(widths)) / len(widths), 2 * self.style.size)
        edges = [self.margin + sum(widths[:n]) + n * spread for n in range(len(widths) + 1)]
        for number, (row, font) in enumerate(zip(rows, used, strict=True)):
            y = self.y + number * step
            for cell, left in zip(row, edges, strict=False):
                self.pen.text((left + pad, y + 0.1 * step), cell, fill=self.style.ink, font=font)
            if self.style.ruled or number == 1:
                self.pen.line((edges[0], y, edges[-1], y), fill=self.style.ink)
        if self.style.ruled:
            end = self.y + step * len(rows)
            self.pen.line((edges[0], end, edges[-1], end), fill=self.style.ink)
            for edge in edges:
                self.pen.line((edge, self.y, edge, end), fill=self.style.ink)
        self._close(write_table(rows), step * len(rows))
        return True

    def _print(self, lines: list[str], x: float) -> None:
        font = fonts.load(self.style.plain, self.style.size)
        for number, line in enumerate(lines):
            self.pen.text((x, self.y + number * self.style.step), line, fill=self.style.ink, font=font)

    def _close(self, markdown: str, height: float) -> None:
        self.blocks.append(markdown)
        self.y += height + 0.6 * self.style.step


def write_table(rows: list[list[str]]) -> str:
    """The rows as a Markdown table; the first is its head."""
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join((head, "| " + " | ".join("---" for _ in rows[0]) + " |", *body))


def make(task: str, split: Split, rng: random.Random, _speak: Speaker) -> Example:
    """A page, a request to write it as Markdown, and its Markdown; its words and its font belong to `split`."""
    page = fill_page(split, rng)
    text = "\n\n".join(page.blocks)
    image = Image(np.asarray(add_grain(page.image, rng)))
    if rng.random() < 0.03:
        return Example(task, (Message.user(image, rng.choice(DESCRIBE)),), (), "A text.", shown=text)
    return Example(task, (Message.user(image, rng.choice(WRITE)),), (), text, shown=text)


def fill_page(split: Split, rng: random.Random) -> Page:
    """A page of one to eight blocks."""
    width, height = rng.choices(tuple(SIZES), tuple(SIZES.values()))[0]
    family = fonts.draw_family(split, rng)
    size = rng.randint(14, 20) if width < 500 else rng.randint(17, 28)
    ink, paper = ((0, 0, 0), (255, 255, 255)) if rng.random() < 0.6 else draw_ink(rng)
    style = Style(
        family[0], family[1], size, round(size * rng.uniform(1.25, 1.5)), ink, *(rng.random() < 0.5 for _ in "ab")
    )
    page = Page(width, height, paper, style)
    language = draw_language(rng)
    if rng.random() < 0.7:
        page.add_heading(_title(split, rng), 1)
    wanted = rng.randint(2, 3 if width < 300 else 5 if width < 500 else 9)
    for _ in range(2 * wanted):
        if len(page.blocks) < wanted:
            _add_block(page, split, rng, language)
    if not page.blocks:
        page.add_paragraph(draw(split, rng, lambda rng: str(rng.randrange(1000)), lambda text: (text,)))
    return page


def _add_block(page: Page, split: Split, rng: random.Random, language: Language) -> None:
    kind = rng.randrange(10)
    large = page.image.width > 500
    if kind < 4:
        page.add_paragraph(_paragraph(split, rng, language, rng.randint(1, 5 if large else 2)))
    elif kind < 6:
        items = [_item(split, rng, language) for _ in range(rng.randint(2, 5 if large else 3))]
        page.add_list(items, rng.random() < 0.4)
    elif kind < 9:
        page.add_table(_table(split, rng, rng.randint(1, 6 if large else 3), rng.randint(2, 4 if large else 3)))
    elif (
        page.blocks[:1]
        and page.blocks[0].startswith("# ")
        and page.room > 5 * page.style.step
        and page.add_heading(_title(split, rng), 2)
    ):
        page.add_paragraph(_paragraph(split, rng, language, 1))


def _title(split: Split, rng: random.Random) -> str:
    def make(rng: random.Random) -> str:
        words = [rng.choice(TITLE)(rng) for _ in range(rng.randint(1, 3))]
        return " ".join((words[0].capitalize(), *words[1:]))

    return draw(split, rng, make, lambda text: (text,))


def _item(split: Split, rng: random.Random, language: Language) -> str:
    if rng.random() < 0.4:
        return make_sentence(split, rng, language)
    return draw(split, rng, lambda rng: strings.phrase(rng, 3), lambda text: (text,))


def _paragraph(split: Split, rng: random.Random, language: Language, count: int) -> str:
    return " ".join(make_sentence(split, rng, language) for _ in range(count))


def _table(split: Split, rng: random.Random, rows: int, columns: int) -> list[list[str]]:
    """A head and `rows` rows, each of which belongs to `split`."""
    heads = rng.sample(tuple(HEADS), columns)

    def make(rng: random.Random) -> list[str]:
        return [HEADS[head](rng) for head in heads]

    return [heads, *(draw(split, rng, make, lambda row: tuple(row)) for _ in range(rows))]


def _wrap(text: str, font: fonts.Font, width: float) -> list[str]:
    """The text in lines of at most `width` pixels; none if a word is wider."""
    lines: list[list[str]] = []
    space, end = font.getlength(" "), width
    for word in text.split():
        length = font.getlength(word)
        if length > width:
            return []
        if end + space + length > width:
            lines.append([])
            end = -space
        lines[-1].append(word)
        end += space + length
    return [" ".join(line) for line in lines]
