"""Compare two records row by row: differences with 95 % intervals, paired where the examples are the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from phi4mm.errors import ConfigError
from phi4mm.evaluation.intervals import Interval, mcnemar, paired_difference, unpaired_difference
from phi4mm.evaluation.records import Record, Result

Verdict: TypeAlias = Literal["better", "worse", "within noise"]


@dataclass(frozen=True)
class Difference:
    """How a row changed.

    before, after, difference  values in the row's unit
    interval                   of the difference, 95 %
    paired                     whether both records hold the same examples
    p                          of McNemar's exact test, for paired proportions
    """

    unit: str
    before: float
    after: float
    difference: float
    interval: Interval
    paired: bool
    p: float | None
    verdict: Verdict


def compare(before: Record, after: Record) -> tuple[dict[str, Difference], dict[str, str]]:
    """The differences of the rows that both records have, and why the other rows have none, by name.

    raises  ConfigError if the records have no row in common
    """
    names = list(dict.fromkeys((*before.rows, *after.rows)))
    reasons = {name: reason for name in names if (reason := _without(name, before.rows, after.rows))}
    found = {name: _difference(before.rows[name], after.rows[name]) for name in names if name not in reasons}
    if not found:
        raise ConfigError(
            "the two records have no row in common that has a value in both; compare runs of the same rows"
        )
    return found, reasons


def _without(name: str, before: Mapping[str, Result], after: Mapping[str, Result]) -> str:
    """Why a row has no difference; empty if it has one."""
    for which, rows in (("first", before), ("second", after)):
        if name not in rows:
            return f"not in the {which} record"
        if rows[name].value is None or rows[name].interval is None:
            return f"no value in the {which} record"
    if before[name].unit != after[name].unit:
        return f"measured in {before[name].unit}, then in {after[name].unit}"
    return ""


def _difference(before: Result, after: Result) -> Difference:
    assert before.value is not None and before.interval is not None
    assert after.value is not None and after.interval is not None
    unit, p = before.measured_in, None
    paired = before.digest == after.digest and before.count == after.count
    interval = paired_difference(before.counts, after.counts, unit) if paired else None
    if interval is None:
        interval = unpaired_difference((before.value, before.interval), (after.value, after.interval))
    elif unit.proportion:
        changes = [new[0] - old[0] for old, new in zip(before.counts, after.counts, strict=True)]
        p = mcnemar(changes.count(1), changes.count(-1))
    verdict: Verdict = "within noise"
    if interval[0] > 0 or interval[1] < 0:
        verdict = "better" if (interval[0] > 0) == (unit.better == "higher") else "worse"
    difference = after.value - before.value
    return Difference(unit.name, before.value, after.value, difference, interval, paired, p, verdict)
