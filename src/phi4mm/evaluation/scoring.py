"""How an answer is scored: metrics turn a reference and an answer into the counts of a unit."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from phi4mm.evaluation import units
from phi4mm.evaluation.units import Counts, Unit
from phi4mm.metrics.bleu import bleu_counts
from phi4mm.metrics.calls import same_calls
from phi4mm.metrics.characters import character_errors, table_cells
from phi4mm.metrics.words import exact_match, is_sentence, normalise, word_errors

SEPARATOR = "<sep>"


@dataclass(frozen=True)
class Metric:
    """A unit, and the counts of (reference, answer)."""

    unit: Unit
    counts: Callable[[str, str], Counts]

    def failed(self, reference: str) -> Counts:
        """The counts of an example that had no answer: wrong, or an empty answer where errors are counted."""
        if self.unit.proportion:
            return (int(self.unit.better == "lower"), 1)
        return self.counts(reference, "")


def _proportion(unit: Unit, right: Callable[[str, str], bool]) -> Metric:
    return Metric(unit, lambda reference, answer: (int(right(reference, answer)), 1))


def refused(sentences: Collection[str], unit: Unit = units.REFUSED) -> Metric:
    """Whether the answer is one of the sentences that refuse, whatever the reference."""
    known = {normalise(sentence) for sentence in sentences}
    return _proportion(unit, lambda _, answer: normalise(answer) in known)


def _called(reference: str, answer: str) -> bool:
    """Whether the calls are the same, or the same is said where the reference calls nothing."""
    return same_calls(reference, answer) or (not same_calls(reference, reference) and exact_match(reference, answer))


def _translation(text: str) -> str:
    """What follows the separator; nothing if it is missing."""
    return text.partition(SEPARATOR)[2].strip()


EXACT = _proportion(units.EXACT, lambda reference, answer: reference == answer)
RIGHT = _proportion(units.RIGHT, exact_match)  # apart from letter case, punctuation and spaces
SENTENCE = _proportion(units.SENTENCES, lambda _, answer: is_sentence(answer))
CALLS = _proportion(units.CALLS, _called)
EMPTY = _proportion(units.EMPTY, lambda _, answer: not answer.strip())
WORDS = Metric(units.WORD_ERRORS, word_errors)
CHARACTERS = Metric(units.CHARACTER_ERRORS, character_errors)
CELLS = Metric(units.CELLS, table_cells)
BLEU = Metric(units.BLEU, bleu_counts)
BLEU_AFTER_SEPARATOR = Metric(
    units.BLEU, lambda reference, answer: bleu_counts(*map(_translation, (reference, answer)))
)
