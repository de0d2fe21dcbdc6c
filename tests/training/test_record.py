"""The record of a training, as people and plots read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from phi4mm.training.loop import Progress
from phi4mm.training.record import TrainingRecord

REPORTS = (
    Progress(0, 9, {}, 1e-3, 0.0, 0.0, 0.0, 0),
    Progress(1, 9, {"answer": 2.5}, 1e-3, 4.0, 2.0, 300.0, 0),
    Progress(9, 9, {"answer": 0.5, "ratio spread": 0.1}, 5e-4, 1.0, 2.0, 310.0, 1),
)


def test_every_report_is_one_line_and_a_second_run_goes_on_in_the_same_file(tmp_path: Path) -> None:
    """Prevents a resumed run from losing the curve of the first one."""
    for reports in (REPORTS[:2], REPORTS[2:]):
        record = TrainingRecord(tmp_path, "text")
        for report in reports:
            record(report)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["stage"], line["step"], line["answer"], line["skipped"]) for line in lines] == [
        ("text", 1, 2.5, 0),
        ("text", 9, 0.5, 1),
    ]
    assert lines[1]["ratio spread"] == 0.1 and lines[1]["rate"] == 5e-4


def test_tensorboard_gets_the_same_figures(tmp_path: Path) -> None:
    """Prevents curves of another step, or none."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    record = TrainingRecord(tmp_path, "text")
    for report in REPORTS:
        record(report)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / "text"))
    events.Reload()
    assert [(event.step, round(event.value, 3)) for event in events.Scalars("answer")] == [(1, 2.5), (9, 0.5)]
    assert [event.step for event in events.Scalars("ratio_spread")] == [9]


def test_without_tensorboard_the_lines_are_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a training that needs a viewer to run."""
    monkeypatch.setattr("phi4mm.training.record.find_spec", lambda _: None)
    TrainingRecord(tmp_path, "text")(REPORTS[1])
    assert (tmp_path / "log.jsonl").exists() and not (tmp_path / "tensorboard").exists()
