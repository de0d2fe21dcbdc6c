"""Word error rate and exact match."""

from __future__ import annotations

import re
from collections.abc import Sequence

from phi4mm.metrics.edits import edit_distance

_NOT_A_WORD = re.compile(r"[^\w' ]+")


def normalise(text: str) -> str:
    """English text reduced to words: lower case, no punctuation, single spaces."""
    return " ".join(_NOT_A_WORD.sub(" ", text.lower().replace("’", "'")).split())


def word_errors(reference: str, hypothesis: str) -> tuple[int, int]:
    """The number of substituted, missing and extra words, and of words in the reference, after normalisation."""
    expected, actual = normalise(reference).split(), normalise(hypothesis).split()
    return edit_distance(expected, actual), len(expected)


def word_error_rate(pairs: Sequence[tuple[str, str]]) -> float:
    """Word errors divided by reference words, for (reference, hypothesis) pairs; 0.0 without reference words."""
    counts = [word_errors(reference, hypothesis) for reference, hypothesis in pairs]
    words = sum(count for _, count in counts)
    return sum(errors for errors, _ in counts) / words if words else 0.0


def exact_match(reference: str, answer: str) -> bool:
    """Whether the answer equals the reference, apart from letter case, punctuation and spaces."""
    return normalise(reference) == normalise(answer)


def is_sentence(text: str) -> bool:
    """Whether the text has the form of a sentence on one line: a capital letter first, words, and `.`, `!` or `?` last.

    Signs that open a Spanish sentence or a quotation may stand before the letter.
    """
    line = text.strip()
    first = line.lstrip("¡¿\"'«“( ")[:1]
    return first.isupper() and line.endswith((".", "!", "?")) and "\n" not in line and len(normalise(line)) > 1
