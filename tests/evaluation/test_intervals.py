"""Intervals against closed forms, and against how often they hold the truth."""

from __future__ import annotations

import math
import random

import pytest

from phi4mm.evaluation import units
from phi4mm.evaluation.intervals import (
    Z,
    interval,
    mcnemar,
    mcnemar_difference,
    paired_difference,
    unpaired_difference,
    wilson,
)


@pytest.mark.parametrize(("right", "count"), [(0, 10), (1, 10), (37, 50), (200, 200), (1, 1)])
def test_wilson_holds_the_proportions_that_the_score_test_does_not_refuse(right: int, count: int) -> None:
    """By definition: at an end p of the interval, |share - p| is Z standard errors of p."""
    share = right / count
    for end in wilson(right, count):
        if 0 < end < 1:
            assert abs(share - end) == pytest.approx(Z * math.sqrt(end * (1 - end) / count))
    assert wilson(right, count)[0] <= share <= wilson(right, count)[1]


def test_wilson_gives_published_values() -> None:
    """81 of 263, from Newcombe 1998, table I: 0.2553 to 0.3662."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_the_bootstrap_of_a_rate_agrees_with_its_standard_error() -> None:
    """For equally long references the rate is a mean, whose interval is known."""
    rng = random.Random(1)
    counts = [(rng.randrange(5), 10) for _ in range(400)]
    rates = [errors / 10 for errors, _ in counts]
    mean = sum(rates) / len(rates)
    error = math.sqrt(sum((rate - mean) ** 2 for rate in rates)) / len(rates)
    found = interval(counts, units.WORD_ERRORS)
    assert found == pytest.approx((mean - Z * error, mean + Z * error), abs=0.3 * error)
    assert found == interval(counts, units.WORD_ERRORS)


def test_a_rate_without_references_has_no_interval() -> None:
    """0 / 0 is not 0 %."""
    assert interval([(0, 0), (0, 0)], units.CELLS) is None
    assert interval([], units.EXACT) is None


def test_mcnemar_is_the_exact_binomial_test() -> None:
    """2 * (C(10, 0) + C(10, 1)) / 2**10, and no more than 1."""
    assert mcnemar(9, 1) == mcnemar(1, 9) == pytest.approx(2 * 11 / 1024)
    assert mcnemar(3, 3) == 1
    assert mcnemar(0, 0) == 1


@pytest.mark.parametrize("changed", range(13))
def test_the_interval_of_a_paired_proportion_excludes_0_exactly_where_mcnemar_rejects(changed: int) -> None:
    """The verdict and the p-value must not contradict each other."""
    for gained in range(changed + 1):
        low, high = mcnemar_difference(gained, changed - gained, 100)
        assert (low > 0 or high < 0) == (mcnemar(gained, changed - gained) < 0.05)
        assert low <= (2 * gained - changed) / 100 <= high


def test_pairs_narrow_the_interval_of_a_rate() -> None:
    """Two models that fail on the same hard examples differ by little, however hard those are."""
    rng = random.Random(2)
    before = [(rng.randrange(10), 10) for _ in range(200)]
    after = [(max(0, errors - (number % 4 == 0)), of) for number, (errors, of) in enumerate(before)]
    paired = paired_difference(before, after, units.WORD_ERRORS)
    assert paired is not None
    assert paired[1] < 0
    values = [
        (sum(errors for errors, _ in counts) / 2000, interval(counts, units.WORD_ERRORS)) for counts in (before, after)
    ]
    (old, old_interval), (new, new_interval) = values
    assert old_interval is not None
    assert new_interval is not None
    low, high = unpaired_difference((old, old_interval), (new, new_interval))
    assert low < 0 < high


def test_the_unpaired_interval_of_symmetric_intervals_adds_squares() -> None:
    """As for the difference of two means."""
    found = unpaired_difference((0.5, (0.47, 0.53)), (0.6, (0.56, 0.64)))
    assert found == pytest.approx((0.1 - 0.05, 0.1 + 0.05))
