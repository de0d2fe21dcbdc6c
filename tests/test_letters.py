"""The letters of shapes mean in every module what the table of docs/numerics.md says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TABLE = (ROOT / "docs" / "numerics.md").read_text(encoding="utf-8").partition("## Letters")[2].partition("\n## ")[0]
MEANINGS = dict(re.findall(r"\| ([A-Z]) \| ([^|]+) (?=\|)", TABLE))
ITEM = re.compile(r"(?:^|[,;:] |\n|and )([A-Z]) ([a-z][^,;.]*)")


def stems(text: str) -> set[str]:
    """Words of four letters and more, without their plural."""
    return {word.rstrip("s") for word in re.findall(r"[a-z]{3,}", text.lower())}


def legends() -> Iterator[tuple[str, str, str]]:
    """Path, letter and meaning of each entry of a legend: a paragraph that begins with a letter and its meaning."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        for paragraph in docstring.split("\n\n"):
            text = paragraph.removeprefix("Shape legend: ")
            if (re.match(r"[A-Z] [a-z]", text) and not text.startswith("A ")) or text is not paragraph:
                for letter, meaning in ITEM.findall(text):
                    yield str(path.relative_to(ROOT)), letter, meaning


def test_the_table_gives_every_letter_one_meaning() -> None:
    """Two rows for a letter would let each module choose."""
    letters = re.findall(r"\| ([A-Z]) \|", TABLE)
    assert len(letters) == len(set(letters)) > 20


def test_legends_are_found() -> None:
    """The next test would pass over nothing."""
    found = list(legends())
    assert len({path for path, _, _ in found}) > 25
    assert len({letter for _, letter, _ in found}) > 15


@pytest.mark.parametrize(("path", "letter", "meaning"), list(legends()))
def test_a_letter_means_what_the_table_says(path: str, letter: str, meaning: str) -> None:
    """K as key/value heads here and labels there: a reader of two files believes the first."""
    assert letter in MEANINGS, f"{letter} ({meaning}) is not in the table of docs/numerics.md"
    assert stems(meaning) & stems(MEANINGS[letter]), f"{letter} is {meaning!r}; the table: {MEANINGS[letter]!r}"
