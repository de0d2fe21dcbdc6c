"""Draws a training of nano from its own record: the losses of each stage, and the scores of evaluations.

    python bench/plot_training.py RUN OUT [--scores RECORD ...]

RUN is the folder of a `phi4mm train nano`, whose log.jsonl is drawn as OUT/losses.svg. A RECORD is one of
`phi4mm eval nano --json`; several are drawn beside each other as OUT/scores.svg.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

FIGURES = ("time", "step", "rate", "gradient_norm", "tokens_per_second", "skipped")  # of a line, but no losses
COLUMNS = 4
matplotlib.rcParams |= {
    "svg.hashsalt": "phi4mm",  # the same record draws the same bytes
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "lines.linewidth": 1.0,
}


def main() -> None:
    """Draw what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scores", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    draw_losses([json.loads(line) for line in (args.run / "log.jsonl").open(encoding="utf-8")], args.out / "losses.svg")
    if args.scores:
        records = {path.stem: json.loads(path.read_text(encoding="utf-8"))["rows"] for path in args.scores}
        draw_scores(records, args.out / "scores.svg")


def draw_losses(lines: list[dict[str, Any]], out: Path) -> None:
    """A panel a stage: every loss by step. A step that was taken again after a stop is drawn as it was last taken."""
    stages: dict[str, dict[int, dict[str, float]]] = {}
    for line in lines:
        losses = {name: value for name, value in line.items() if name != "stage" and name not in FIGURES}
        stages.setdefault(line["stage"], {})[line["step"]] = losses
    rows = math.ceil(len(stages) / COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(11, 2.2 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(stages) :]:
        axis.set_visible(False)
    for axis, (stage, steps) in zip(axes.flat, stages.items(), strict=False):
        for name in dict.fromkeys(name for losses in steps.values() for name in losses):
            drawn = sorted((step, losses[name]) for step, losses in steps.items() if name in losses)
            axis.plot(*zip(*drawn, strict=True), label=name)
        axis.set_title(stage)
        axis.legend(frameon=False)
    figure.savefig(out, metadata={"Date": None})


def draw_scores(records: dict[str, dict[str, Any]], out: Path) -> None:
    """A row a task: the score of each record with its 95 % interval, and the bar as a short line."""
    names = list(dict.fromkeys(name for rows in records.values() for name in rows))
    figure, axis = plt.subplots(figsize=(9, 0.2 * len(names) + 1), layout="constrained")
    for shift, (record, rows) in enumerate(records.items()):
        found = [(number, rows[name]) for number, name in enumerate(names) if name in rows]
        values = [_share(row, row["value"]) for _, row in found]
        low, high = ([_share(row, row["interval"][end]) for _, row in found] for end in (0, 1))
        errors = [[v - a for v, a in zip(values, low, strict=True)], [b - v for v, b in zip(values, high, strict=True)]]
        places = [number + 0.2 * shift for number, _ in found]
        axis.errorbar(values, places, xerr=errors, fmt="o", markersize=3, label=record)
    rows = {name: row for record in records.values() for name, row in record.items()}
    bars = [
        (number, _share(rows[name], rows[name]["bar"])) for number, name in enumerate(names) if rows[name].get("bar")
    ]
    axis.scatter([bar for _, bar in bars], [number for number, _ in bars], marker="|", color="black", label="bar")
    axis.set_yticks(range(len(names)), [rows[name]["title"] for name in names])
    axis.invert_yaxis()
    axis.set_xlabel("score; of errors and wrong words, the lower the better")
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(out, metadata={"Date": None})


def _share(row: dict[str, Any], value: float) -> float:
    """BLEU goes to 100, everything else to 1."""
    return value / 100 if "BLEU" in row["unit"] else value


if __name__ == "__main__":
    main()
