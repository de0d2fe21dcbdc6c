"""Printed lines, boards, pages and charts: what is printed is what the answer says; nothing is in both splits."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from phi4mm.errors import ConfigError
from phi4mm.metrics.characters import table_cells
from phi4mm.nano.synth import charts, fonts, lines, pages, world
from phi4mm.nano.synth.split import Split, is_held_out
from phi4mm.protocol.messages import Image

SPLITS: tuple[Split, ...] = ("train", "held_out")


@pytest.mark.parametrize("split", SPLITS)
def test_every_line_and_board_belongs_to_the_split(split: Split) -> None:
    """Prevents character errors measured on lines of the training data."""
    rng, held_out = random.Random(0), split == "held_out"
    for number in range(5000 if split == "train" else 1000):
        text = lines.make_line(split, rng, ("en", "de", "fr", "es")[number % 4])
        assert is_held_out(text) == held_out and "\n" not in text and text == text.strip()
        assert is_held_out("board", *lines.make_board(split, rng)) == held_out


@pytest.mark.parametrize("split", SPLITS)
def test_every_block_of_a_page_belongs_to_the_split(split: Split) -> None:
    """Prevents pages whose rows, items or titles were trained."""
    rng, held_out = random.Random(0), split == "held_out"
    for _ in range(150):
        for block in pages.fill_page(split, rng).blocks:
            for words in keys(block):
                assert is_held_out(*words) == held_out, block


def keys(block: str) -> Iterator[tuple[str, ...]]:
    """What the split of a block's rows, items or title goes by; sentences of paragraphs are those of lines."""
    if block.startswith("|"):
        yield from (tuple(row.strip("| ").split(" | ")) for row in block.splitlines()[2:])
    elif re.match(r"#+ |- |\d+\. ", block):
        yield from ((re.sub(r"^(#+|-|\d+\.) ", "", line),) for line in block.splitlines())


def test_charts_belong_to_the_split_and_their_answers_are_true() -> None:
    """Prevents values of the wrong series or label, and a wrong difference or extreme."""
    for split in SPLITS:
        rng = random.Random(split)
        for _ in range(5000):
            chart = charts.make_chart(split, rng)
            assert is_held_out("chart", *chart.labels, *map(str, sum(chart.values, ()))) == (split == "held_out")
            question, answer = charts.ask(chart, rng)
            series = [each for name, each in zip(chart.names, chart.values, strict=True) if f" of {name}" in question]
            values = dict(zip(chart.labels, (series or chart.values)[0], strict=True))
            if match := re.fullmatch(r"What is the value(?: of .+)? for (.+)\?", question):
                assert answer == f"{values[match[1]]}."
            elif match := re.fullmatch(r"What is the difference(?: of .+)? between (.+) and (.+)\?", question):
                assert answer == f"{abs(values[match[1]] - values[match[2]])}."
            elif question.startswith("What has the highest"):
                assert all(values[answer[:-1]] > value for label, value in values.items() if label != answer[:-1])


def test_a_chart_stands_between_its_lowest_and_highest_line() -> None:
    """Prevents values without printed numbers between the lines of the grid, where nobody can read them."""
    rng = random.Random(0)
    for _ in range(300):
        chart = charts.make_chart("train", rng)
        assert chart.printed or all(value % chart.step == 0 for values in chart.values for value in values)
        rows = len(charts.tabulate(chart).splitlines())
        assert rows == len(chart.labels) + 2
        assert table_cells(charts.tabulate(chart), charts.tabulate(chart))[0] == (rows - 1) * (len(chart.names) + 1)


@pytest.mark.parametrize("task", ["line", "lines", "board", "page", "chart", "chart_table"])
def test_printed_examples_are_functions_of_their_seed(task: str) -> None:
    """Prevents scores that differ from run to run."""
    for seed in range(5):
        first, again = (world.example("held_out", seed, task) for _ in range(2))
        assert (first.answer, first.messages[0].parts[1]) == (again.answer, again.messages[0].parts[1])
        one, two = (pixels(example.messages[0].parts[0]) for example in (first, again))
        assert np.array_equal(one, two)


def pixels(part: object) -> npt.NDArray[np.uint8]:
    assert isinstance(part, Image)
    return np.asarray(part.source)


def test_nothing_is_printed_beyond_the_page() -> None:
    """Prevents answers with words that the picture cuts off."""
    rng = random.Random(0)
    for _ in range(100):
        page = pages.fill_page("train", rng)
        pixels = np.asarray(page.image).astype(int)
        edges = np.concatenate([pixels[:3].reshape(-1, 3), pixels[-3:].reshape(-1, 3), pixels[:, -3:].reshape(-1, 3)])
        assert page.blocks and (np.abs(edges - pixels[0, 0]).max(-1) < 60).all(), page.blocks


def test_a_line_fits_its_picture() -> None:
    """Prevents cut lines."""
    rng = random.Random(0)
    for _ in range(200):
        font = fonts.load("", rng.randint(14, 40))
        assert font.getlength(lines.fit_line("train", rng, "fr", font, 208)) <= 208


def test_no_family_of_fonts_is_in_both_splits() -> None:
    """Prevents a bold style that counts as held out while its plain style is trained."""
    train, held_out = ({style for family in part for style in family} for part in (fonts.TRAIN, fonts.HELD_OUT))
    assert not train & held_out and len(fonts.HELD_OUT) >= 5
    names = [{re.split("[-_ ]", style)[0] for style in part} for part in (train, held_out)]
    assert not names[0] & names[1]


def test_missing_fonts_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a picture that depends in silence on what is installed."""
    fonts.load.cache_clear()
    monkeypatch.setenv("PHI4MM_FONTS", str(tmp_path))
    with pytest.raises(ConfigError, match="PHI4MM_FONTS"):
        world.example("train", 0, "line")


def test_installed_fonts_have_every_letter_that_is_printed() -> None:
    """Prevents boxes in place of letters."""
    try:
        fonts.load(fonts.TRAIN[0][0], 30)
    except ConfigError as error:
        pytest.skip(str(error))
    letters = "".join(map(chr, range(33, 127))) + "äöüÄÖÜßéèêàâçîôûùñáíóúÉÈÁÓÑ¿¡€°œ"
    for style in {style for family in (*fonts.TRAIN, *fonts.HELD_OUT) for style in family}:
        font = fonts.load(style, 30)
        box = bytes(font.getmask("\ue123"))
        assert [letter for letter in letters if bytes(font.getmask(letter)) == box] == [], style
