"""Differences of two records: paired where the examples are the same, and a verdict only beyond the noise."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from phi4mm.errors import ConfigError
from phi4mm.evaluation.comparison import compare
from phi4mm.evaluation.evaluate import evaluate
from phi4mm.evaluation.records import Record
from phi4mm.evaluation.rows import Task
from tests.evaluation.models import TASK, KnownModel, half, make, perfect, wrong


def record(answer: Callable[[int], str | None], examples: int = 40, seed: int = 0, task: Task = TASK) -> Record:
    return Record(*evaluate(KnownModel(answer), [task], examples=examples, seed=seed), {})


def test_a_better_model_is_better_in_every_unit() -> None:
    """More that is right and fewer errors are both better."""
    found, reasons = compare(record(half), record(perfect))
    assert reasons == {}
    verdicts = {name: difference.verdict for name, difference in found.items()}
    assert verdicts == {
        "exact": "better", "words": "better", "letters": "better", "sentence": "better", "empty": "within noise",
    }  # fmt: skip
    assert found["exact"].difference == 0.5
    assert found["words"].difference == -0.125
    assert found["exact"].paired
    assert found["exact"].p is not None
    assert found["exact"].p < 1e-5
    assert found["words"].p is None
    back, _ = compare(record(perfect), record(half))
    assert {name: difference.verdict for name, difference in back.items()} == {
        name: {"better": "worse"}.get(verdict, verdict) for name, verdict in verdicts.items()
    }


def test_few_changed_examples_are_noise() -> None:
    """Five of five gained have p = 0.0625, six of six 0.03."""
    for gained, verdict in ((5, "within noise"), (6, "better")):
        after = record(lambda number, gained=gained: perfect(number) if number < gained else wrong(number))  # type: ignore[misc]
        assert compare(record(wrong), after)[0]["exact"].verdict == verdict


def test_other_examples_are_compared_without_pairs() -> None:
    """The intervals of both are taken together."""
    found, _ = compare(record(half, 100), record(half, 100, seed=1))
    assert (found["exact"].paired, found["exact"].p, found["exact"].verdict) == (False, None, "within noise")
    low, high = found["exact"].interval
    assert (low, high) == pytest.approx((-0.136, 0.136), abs=0.003)
    far, _ = compare(record(wrong, 100), record(perfect, 100, seed=1))
    assert far["exact"].verdict == "better"


def test_rows_that_cannot_be_compared_say_why() -> None:
    """A row that is missing must not look unchanged."""
    first = Task(make, TASK.rows[:2])
    found, reasons = compare(record(half, task=first), record(half))
    assert set(found) == {"exact", "words"}
    assert reasons == dict.fromkeys(("letters", "sentence", "empty"), "not in the first record")
    _, reasons = compare(
        record(half), Record({**record(half).rows, "exact": record(lambda _: None).rows["exact"]}, {}, {})
    )
    assert reasons == {"exact": "no value in the second record"}
    with pytest.raises(ConfigError, match="no row in common"):
        compare(record(half), Record({}, {}, {}))


def test_a_model_does_not_differ_from_itself() -> None:
    """Noise between two runs of one model would hide what training changed."""
    found, _ = compare(record(half), record(half))
    assert {(difference.difference, difference.interval, difference.verdict) for difference in found.values()} == {
        (0, (0, 0), "within noise")
    }
