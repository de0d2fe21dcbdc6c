"""The record of a training: every report as a line of JSON, and as scalars for TensorBoard where that is installed."""

from __future__ import annotations

import json
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from phi4mm.training.loop import Progress

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TrainingRecord:
    """Appends the reports of one stage to `log.jsonl` of a run's folder, and to `tensorboard/STAGE`."""

    def __init__(self, folder: Path, stage: str) -> None:
        self._file, self._stage = folder / "log.jsonl", stage
        self._writer = _tensorboard(folder / "tensorboard" / stage)

    def __call__(self, progress: Progress) -> None:
        """Record a report. The first one of a run, before any step, has no figures and is left out."""
        if not progress.losses:
            return
        figures = {
            **progress.losses,
            "rate": progress.rate,
            "gradient_norm": progress.gradient_norm,
            "tokens_per_second": progress.tokens_per_second,
            "skipped": progress.skipped,
        }
        line = {"stage": self._stage, "step": progress.step, "time": round(time.time(), 1), **figures}
        with open(self._file, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._writer is not None:
            for name, value in figures.items():
                self._writer.add_scalar(name.replace(" ", "_"), value, progress.step)
            self._writer.flush()


def _tensorboard(folder: Path) -> SummaryWriter | None:
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))
