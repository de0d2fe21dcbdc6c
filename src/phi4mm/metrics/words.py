"""Word error rate and exact match."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NOT_A_WORD = re.compile(r"[^\w' ]+")


def normalise(text: str) -> str:
    """English text as a plain line of words: lower case, no punctuation, single spaces."""
    return " ".join(_NOT_A_WORD.sub(" ", text.lower().replace("’", "'")).split())


def word_errors(truth: str, heard: str) -> tuple[int, int]:
    """Substituted, missing and extra words of `heard`, and the words of `truth`, both normalised first."""
    wanted, found = normalise(truth).split(), normalise(heard).split()
    distances = list(range(len(found) + 1))
    for row, word in enumerate(wanted, start=1):
        diagonal, distances[0] = distances[0], row
        for column, other in enumerate(found, start=1):
            best = min(diagonal + (word != other), distances[column] + 1, distances[column - 1] + 1)
            diagonal, distances[column] = distances[column], best
    return distances[-1], len(wanted)


def word_error_rate(pairs: Sequence[tuple[str, str]]) -> float:
    """Word errors over words of the truths, for (truth, heard) pairs; 0.0 when the truths hold no word."""
    counts = [word_errors(truth, heard) for truth, heard in pairs]
    words = sum(count for _, count in counts)
    return sum(errors for errors, _ in counts) / words if words else 0.0


def exact_match(truth: str, answer: str) -> bool:
    """Whether the answer is the truth, but for letter case, punctuation and spaces."""
    return normalise(truth) == normalise(answer)
