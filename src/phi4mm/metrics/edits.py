"""The edit distance of two sequences."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np


def edit_distance(expected: Sequence[Hashable], actual: Sequence[Hashable]) -> int:
    """The least number of substituted, missing and extra items that make `actual` of `expected`."""
    numbers = {item: number for number, item in enumerate(dict.fromkeys((*expected, *actual)))}
    others = np.array([numbers[item] for item in actual], np.int64)
    columns = np.arange(len(actual) + 1)
    distances = columns
    for row, item in enumerate(expected, start=1):
        reached = np.minimum(distances[1:] + 1, distances[:-1] + (others != numbers[item]))
        # An extra item costs one more than the column before it: the running minimum along the row.
        distances = np.minimum.accumulate(np.append(row, reached) - columns) + columns
    return int(distances[-1])
