"""The figures of a training are drawn from its record."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_losses_and_scores_are_drawn_from_the_record(tmp_path: Path) -> None:
    """Prevents a figure that leaves a stage or a task out, or changes from run to run."""
    lines = [{"stage": stage, "step": step, "time": 0.0, "answer": 1 / step} for stage in "ab" for step in (1, 2, 3, 2)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    record = ROOT / "bench" / "results" / "nano_first.json"
    drawn = []
    for out in (tmp_path / "first", tmp_path / "again"):
        script = [sys.executable, "bench/plot_training.py", str(tmp_path), str(out), "--scores", str(record)]
        subprocess.run(script, check=True, cwd=ROOT)
        drawn.append([(out / name).read_text(encoding="utf-8") for name in ("losses.svg", "scores.svg")])
    losses, scores = drawn[0]
    assert drawn[1] == drawn[0] and "<!-- answer -->" in losses
    titles = [row["title"] for row in json.loads(record.read_text(encoding="utf-8"))["rows"].values()]
    assert titles and all(f"<!-- {title} -->" in scores for title in titles)
