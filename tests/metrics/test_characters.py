"""Characters and table cells of pages that were read."""

from __future__ import annotations

import random
import time

import pytest

from phi4mm.metrics.characters import character_error_rate, character_errors, table_cells
from phi4mm.metrics.edits import edit_distance

TABLE = "# Menu\n\n| Item | Price |\n| --- | --- |\n| Soup | 4.50 |\n| Rice | 3.00 |"


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors"),
    [("soup", "soup", 0), ("soup", "soap", 1), ("soup", "sou", 1), ("soup", "soups", 1), ("", "ab", 2), ("ab", "", 2),
     ("Soup", "soup", 1), ("a  b\n\nc ", "a b c", 0), ("kitten", "sitting", 3)],
)  # fmt: skip
def test_characters_are_counted_as_edits(reference: str, hypothesis: str, errors: int) -> None:
    """Prevents a rate that forgives case or punctuation, or that punishes line breaks of the page."""
    assert character_errors(reference, hypothesis) == (errors, len(" ".join(reference.split())))


def test_the_rate_weighs_all_characters_alike() -> None:
    """Prevents a mean over pages, in which a short line counts as much as a page."""
    assert character_error_rate([("abcdefgh", "abcdefgh"), ("xy", "zz")]) == 0.2
    assert character_error_rate([]) == 0.0


def test_the_edit_distance_is_that_of_the_definition() -> None:
    """Prevents a wrong step of the running minimum."""
    rng = random.Random(0)
    for _ in range(200):
        first, second = ("".join(rng.choices("abc", k=rng.randrange(8))) for _ in range(2))
        assert edit_distance(first, second) == by_definition(first, second)


def by_definition(first: str, second: str) -> int:
    if not first or not second:
        return len(first) + len(second)
    return min(
        by_definition(first[1:], second) + 1,
        by_definition(first, second[1:]) + 1,
        by_definition(first[1:], second[1:]) + (first[0] != second[0]),
    )


def test_a_page_is_scored_in_less_than_a_second() -> None:
    """Prevents minutes of scoring for a thousand pages."""
    start = time.perf_counter()
    character_errors("soup " * 600, "rice " * 600)
    assert time.perf_counter() - start < 1


def test_cells_are_right_at_their_row_and_column() -> None:
    """Prevents a score that a table without its structure reaches."""
    assert table_cells(TABLE, TABLE) == (6, 6)
    assert table_cells(TABLE, TABLE.replace("4.50", "4.60")) == (5, 6)
    assert table_cells(TABLE, TABLE.replace("| Soup | 4.50 |\n", "")) == (2, 6)
    assert table_cells(TABLE, "Item Price Soup 4.50 Rice 3.00") == (0, 6)
    assert table_cells(TABLE + "\n\nand\n\n| A |\n| :-: |\n| 1 |", TABLE) == (6, 8)
    assert table_cells("no table", TABLE) == (0, 0)
