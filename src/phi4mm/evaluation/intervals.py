"""95 % intervals: Wilson's for proportions, the bootstrap over examples for rates, and those of paired differences.

n examples, k counts of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from phi4mm.evaluation.units import Counts, Unit

Interval: TypeAlias = tuple[float, float]
Z = 1.959963984540054  # 97.5 % of the normal distribution lie below it
TAIL = 0.025
RESAMPLES = 1000
SEED = 20250226  # of the bootstrap: the same record has the same interval


def interval(counts: Sequence[Counts], unit: Unit) -> Interval | None:
    """The 95 % interval of a row's value; None where there was nothing to count."""
    if not counts or unit.value(_sums(counts)) is None:
        return None
    if unit.proportion:
        return wilson(sum(right for right, _ in counts), len(counts))
    return _middle([unit.value(sums.tolist()) for sums in _resample(np.array(counts))])


def wilson(right: int, count: int) -> Interval:
    """Wilson's interval of the proportion right / count, for a count of at least 1."""
    share, spread = right / count, Z**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / count / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def paired_difference(before: Sequence[Counts], after: Sequence[Counts], unit: Unit) -> Interval | None:
    """The interval of value(after) - value(before) over the same n examples; None where there was nothing to count.

    Proportions: the exact interval of McNemar's test, from the examples where the two differ. Rates: the bootstrap,
    with the same examples drawn for both.
    """
    if unit.proportion:
        gained = sum(new > old for (old, _), (new, _) in zip(before, after, strict=True))
        lost = sum(new < old for (old, _), (new, _) in zip(before, after, strict=True))
        return mcnemar_difference(gained, lost, len(before))
    width = len(before[0])
    drawn = _resample(np.hstack([np.array(before), np.array(after)]))
    pairs = [(unit.value(sums[:width].tolist()), unit.value(sums[width:].tolist())) for sums in drawn]
    return _middle([new - old for old, new in pairs if old is not None and new is not None])


def mcnemar_difference(gained: int, lost: int, count: int) -> Interval:
    """The interval of (gained - lost) / count, given how many examples changed. It holds 0 unless `mcnemar` < 0.05."""
    changed = gained + lost
    if not changed:
        return 0.0, 0.0
    # Clopper and Pearson: the probabilities of a gain at which the tails hold TAIL.
    low = _solve(lambda share: 1 - _below(gained, changed, share), TAIL) if gained else 0.0
    high = _solve(lambda share: 1 - _below(gained + 1, changed, share), 1 - TAIL) if lost else 1.0
    return (2 * low - 1) * changed / count, (2 * high - 1) * changed / count


def mcnemar(gained: int, lost: int) -> float:
    """The exact two-sided p-value of McNemar's test: that gains and losses are equally likely."""
    changed = gained + lost
    return min(1.0, 2 * _below(min(gained, lost) + 1, changed, 0.5))


def unpaired_difference(before: tuple[float, Interval], after: tuple[float, Interval]) -> Interval:
    """The interval of a difference of two independent values with their own intervals (Zou and Donner)."""
    (old, (old_low, old_high)), (new, (new_low, new_high)) = before, after
    difference = new - old
    return (
        difference - math.hypot(new - new_low, old_high - old),
        difference + math.hypot(new_high - new, old - old_low),
    )


def _below(limit: int, count: int, share: float) -> float:
    """The probability of fewer than `limit` successes in `count` trials of probability `share`, 0 < share < 1."""
    logs = [
        math.lgamma(count + 1) - math.lgamma(n + 1) - math.lgamma(count - n + 1)
        + n * math.log(share) + (count - n) * math.log1p(-share)
        for n in range(limit)
    ]  # fmt: skip
    return math.fsum(map(math.exp, logs))


def _solve(rising: Callable[[float], float], target: float) -> float:
    """Where a function that rises from 0 to 1 on [0, 1] has the value `target`, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < target else (low, middle)
    return (low + high) / 2


def _sums(counts: Sequence[Counts]) -> list[int]:
    return [sum(column) for column in zip(*counts, strict=True)]


def _resample(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Sums (RESAMPLES, k) of n examples drawn with replacement from counts (n, k)."""
    n = len(counts)
    drawn = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), RESAMPLES)
    return np.asarray(drawn @ counts)


def _middle(values: Sequence[float | None]) -> Interval | None:
    """The middle 95 % of bootstrap values; those with nothing to count are left out."""
    found = [value for value in values if value is not None]
    if not found:
        return None
    low, high = np.percentile(found, (100 * TAIL, 100 * (1 - TAIL)))
    return float(low), float(high)
