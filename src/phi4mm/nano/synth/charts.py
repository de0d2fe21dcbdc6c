"""Bar and line charts of one or two series: questions about values, and the chart as a table.

Values are whole numbers. They are printed at the bars or points, or stand on the lines of the grid, so that a reader
can tell them. Labels and values together belong to the split, and so does the font.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw

from phi4mm.nano.synth import fonts
from phi4mm.nano.synth.example import Example, Speaker
from phi4mm.nano.synth.fonts import Font
from phi4mm.nano.synth.pages import write_table
from phi4mm.nano.synth.questions import DESCRIBE
from phi4mm.nano.synth.scene import COLORS, Color, Draw, add_grain
from phi4mm.nano.synth.skills import CITIES, NAMES
from phi4mm.nano.synth.split import Split, draw
from phi4mm.protocol.messages import Image, Message

TASKS = ("chart", "chart_table")
SHORT_CITIES = tuple(city for city in CITIES if len(city) < 8)
# Title, labels, names of two series; labels of a time are in their order.
SUBJECTS: dict[str, tuple[tuple[str, ...], tuple[str, str], bool]] = {
    "Sales": (("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"), ("Tea", "Coffee"), True),
    "Rain": (("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
             ("Paris", "Rome"), True),
    "Visitors": (("2019", "2020", "2021", "2022", "2023", "2024", "2025"), ("Men", "Women"), True),
    "Fruit": (("Apples", "Pears", "Lemons", "Plums", "Grapes", "Melons", "Cherries"), ("Summer", "Winter"), False),
    "Points": (NAMES, ("Round 1", "Round 2"), False),
    "Temperature": (SHORT_CITIES, ("Day", "Night"), False),
    "Animals": (("Dogs", "Cats", "Birds", "Horses", "Cows", "Sheep", "Fish"), ("Farm A", "Farm B"), False),
    "Tickets": (("Bus", "Train", "Boat", "Tram", "Plane"), ("Adults", "Children"), False),
}  # fmt: skip
TABLE = (
    "Write the chart as a table.", "Convert the chart to a table.", "Give me the data of this chart as a table.",
    "Write this chart as a Markdown table.",
)  # fmt: skip
SIZES = ((336, 224), (336, 336), (448, 336), (448, 336), (448, 448), (560, 420))
STEPS = (1, 2, 5, 10, 20)


@dataclass(frozen=True)
class Chart:
    """A chart.

    names   of its one or two series, for the legend
    values  of each series, one for each label
    step    between the lines of the grid
    lines   lines, not bars
    in_time the labels are times in their order
    """

    title: str
    labels: tuple[str, ...]
    names: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]
    step: int
    lines: bool
    printed: bool
    in_time: bool


def make(task: str, split: Split, rng: random.Random, _speak: Speaker) -> Example:
    """A chart and a question about it or, for `chart_table`, a request for its table."""
    chart = make_chart(split, rng)
    image = Image(np.asarray(add_grain(draw_chart(chart, split, rng), rng)))
    question, answer = (rng.choice(TABLE), tabulate(chart)) if task == "chart_table" else ask(chart, rng)
    return Example(task, (Message.user(image, question),), (), answer, shown=tabulate(chart))


def make_chart(split: Split, rng: random.Random) -> Chart:
    """A chart whose labels and values together belong to `split`."""
    return draw(split, rng, _make_chart, lambda chart: ("chart", *chart.labels, *map(str, sum(chart.values, ()))))


def _make_chart(rng: random.Random) -> Chart:
    """A chart of 2 to 6 labels, at least 3 with lines."""
    title, (labels, names, in_time) = rng.choice(tuple(SUBJECTS.items()))
    lines = in_time and rng.random() < 0.6
    count = rng.randint(3 if lines else 2, min(6, len(labels)))
    first = rng.randrange(len(labels) - count + 1)
    chosen = tuple(labels[first : first + count]) if in_time else tuple(rng.sample(labels, count))
    series = 1 if rng.random() < 0.65 else 2
    step, printed = rng.choice(STEPS), rng.random() < 0.5
    unit = 1 if printed else step
    values = tuple(tuple(rng.randint(1, 8 * step // unit) * unit for _ in chosen) for _ in range(series))
    if lines and rng.random() < 0.3:
        values = tuple(tuple(sorted(each, reverse=rng.random() < 0.5)) for each in values)
    return Chart(title, chosen, names[:series], values, step, lines, printed, in_time)


def tabulate(chart: Chart) -> str:
    """The chart as a Markdown table: labels in the first column, under the title; a column for each series.

    One series has the head `Value`, two have their names.
    """
    heads = list(chart.names) if len(chart.names) == 2 else ["Value"]
    rows = [[label, *map(str, values)] for label, *values in zip(chart.labels, *chart.values, strict=True)]
    return write_table([[chart.title, *heads], *rows])


def ask(chart: Chart, rng: random.Random) -> tuple[str, str]:
    """A question about the chart that has one right answer, and this answer."""
    while True:
        kind = rng.randrange(10)
        number = rng.randrange(len(chart.values))
        values = dict(zip(chart.labels, chart.values[number], strict=True))
        of = f" of {chart.names[number]}" if len(chart.names) == 2 else ""
        first, second = rng.sample(chart.labels, 2)
        if kind == 0:
            return rng.choice(DESCRIBE), f"A {'line' if chart.lines else 'bar'} chart."
        if kind == 1:
            return rng.choice(("What is the title of the chart?", "What is the title?")), f"{chart.title}."
        if kind < 4:
            return f"What is the value{of} for {first}?", f"{values[first]}."
        if kind < 6:
            word, best = rng.choice((("highest", max(values.values())), ("lowest", min(values.values()))))
            found = [label for label in chart.labels if values[label] == best]
            if len(found) == 1:
                which = (f"What has the {word} value{of}?", f"{found[0]}.")
                return rng.choice((which, (f"What is the {word} value{of}?", f"{best}.")))
        elif kind == 6:
            return (
                f"What is the difference{of} between {first} and {second}?",
                f"{abs(values[first] - values[second])}.",
            )
        elif kind == 7 and values[first] != values[second]:
            higher = max(first, second, key=lambda label: values[label])
            return f"Which has the higher value{of}, {first} or {second}?", f"{higher}."
        elif kind == 8 and chart.in_time and len(chart.values) == 1:
            return rng.choice(("What is the trend?", "Does it rise or fall?")), trend(chart.values[0])
        elif kind == 9 and len(chart.names) == 2:
            one, two = (dict(zip(chart.labels, each, strict=True))[first] for each in chart.values)
            if one != two:
                return f"Which is higher for {first}?", f"{chart.names[one < two]}."


def trend(values: tuple[int, ...]) -> str:
    """Whether values rise or fall at every step, stay, or do both."""
    steps = [after - before for before, after in itertools.pairwise(values)]
    if all(step > 0 for step in steps):
        return "It rises."
    if all(step < 0 for step in steps):
        return "It falls."
    return "It stays the same." if not any(steps) else "It rises and falls."


def draw_chart(chart: Chart, split: Split, rng: random.Random) -> PillowImage.Image:
    """The chart with axes, labels, title and, for two series, a legend; sides of 224 to some 600 pixels."""
    width, height = rng.choice(SIZES)
    style = fonts.draw_family(split, rng)
    font, bold = fonts.load(style[0], rng.randint(13, 15)), fonts.load(style[1], rng.randint(16, 19))
    width = max(width, round(52 + len(chart.labels) * (max(map(font.getlength, chart.labels)) + 8)))
    image = PillowImage.new("RGB", (width, height), rng.choice(((255, 255, 255), (250, 248, 240), (240, 244, 250))))
    pen = ImageDraw.Draw(image)
    pen.text((width / 2, 6), chart.title, fill=(0, 0, 0), font=bold, anchor="ma")
    top, left, right, bottom = 34.0, 42.0, width - 10.0, height - 28.0
    colors = [COLORS[name] for name in rng.sample(("red", "blue", "green", "orange", "purple", "black"), 2)]
    if len(chart.names) == 2:
        top = _draw_legend(pen, chart, colors, font, left, top)
    highest = -(-max(max(each) for each in chart.values) // chart.step) * chart.step
    scale = (bottom - top - 16) / highest
    every = chart.step * max(1, -(-highest // chart.step // int((bottom - top) // 16)))
    for value in range(0, highest + 1, every):
        y = bottom - value * scale
        pen.line((left, y, right, y), fill=(205, 205, 205))
        pen.text((left - 5, y), str(value), fill=(0, 0, 0), font=font, anchor="rm")
    pen.line((left, top, left, bottom, right, bottom), fill=(0, 0, 0), width=2)
    slot = (right - left) / len(chart.labels)
    for number, label in enumerate(chart.labels):
        pen.text(
            (left + (number + 0.5) * slot, bottom + 6),
            label,
            fill=(0, 0, 0),
            font=font,
            anchor="ma",
        )
    for number, (values, color) in enumerate(zip(chart.values, colors, strict=False)):
        _draw_series(pen, chart, values, color, font, (left, bottom, slot, scale), number)
    return image


def _draw_series(
    pen: Draw, chart: Chart, values: tuple[int, ...], color: Color, font: Font, frame: tuple[float, ...], number: int
) -> None:
    left, bottom, slot, scale = frame
    middles = [left + (place + 0.5) * slot for place in range(len(values))]
    tops = [bottom - value * scale for value in values]
    bar = 0.7 * slot / len(chart.values)
    shift = 0.0 if chart.lines else (number - (len(chart.values) - 1) / 2) * bar
    if chart.lines:
        pen.line(list(zip(middles, tops, strict=True)), fill=color, width=3)
    for value, middle, y in zip(values, middles, tops, strict=True):
        x = middle + shift
        if chart.lines:
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=color)
        else:
            pen.rectangle((x - 0.46 * bar, y, x + 0.46 * bar, max(y, bottom - 1)), fill=color)
        if chart.printed:
            pen.text((x, y - 4), str(value), fill=color if chart.lines else (0, 0, 0), font=font, anchor="md")


def _draw_legend(pen: Draw, chart: Chart, colors: list[Color], font: Font, left: float, top: float) -> float:
    """Names beside boxes of their colours; where the chart may begin below."""
    for name, color in zip(chart.names, colors, strict=True):
        pen.rectangle((left, top + 2, left + 11, top + 13), fill=color)
        pen.text((left + 16, top), name, fill=(0, 0, 0), font=font)
        left += 34 + font.getlength(name)
    return top + 22
