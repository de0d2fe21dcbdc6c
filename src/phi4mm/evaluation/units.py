"""What the value of a row is: a unit sums the counts of examples, and says whether more of it is better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from phi4mm.metrics.bleu import bleu

Counts: TypeAlias = tuple[int, ...]
Better: TypeAlias = Literal["higher", "lower"]


def ratio(sums: Sequence[int]) -> float | None:
    """The first sum divided by the second; None where there was nothing to count."""
    return sums[0] / sums[1] if sums[1] else None


@dataclass(frozen=True)
class Unit:
    """The unit of a row.

    width       how many counts an example has
    value       of counts summed over examples; None where there was nothing to count
    proportion  whether an example is right or wrong, so that its counts are (0 or 1, 1)
    whole       the value of everything, for people: 1 is shown as 100 %
    """

    name: str
    better: Better = "higher"
    width: int = 2
    value: Callable[[Sequence[int]], float | None] = ratio
    proportion: bool = True
    whole: float = 1.0

    def show(self, value: float | None) -> str:
        """`93.5%`, `71.3` for BLEU, and a dash without a value."""
        if value is None:
            return "-"
        return f"{value:.1%}" if self.whole == 1 else f"{value:.1f}"


EXACT = Unit("exact")
RIGHT = Unit("right")
SENTENCES = Unit("sentences")
CALLS = Unit("calls")
EMPTY = Unit("empty")
REFUSED = Unit("refused")
REFUSED_WRONGLY = Unit("refused wrongly", better="lower")
WORD_ERRORS = Unit("word error rate", better="lower", proportion=False)
CHARACTER_ERRORS = Unit("character error rate", better="lower", proportion=False)
CELLS = Unit("table cells", proportion=False)
BLEU = Unit("BLEU", width=10, value=bleu, proportion=False, whole=100.0)
UNITS = {
    unit.name: unit
    for unit in (
        *(EXACT, RIGHT, SENTENCES, CALLS, EMPTY, REFUSED, REFUSED_WRONGLY),
        *(WORD_ERRORS, CHARACTER_ERRORS, CELLS, BLEU),
    )
}
