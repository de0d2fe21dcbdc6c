"""What runs a batch. The model runner tries its executors in order; the first that accepts a batch runs it.

N wanted logits, V vocabulary.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from phi4mm.model.batch import ForwardBatch


class Executor(Protocol):
    """One way through the model: every executor that accepts a batch gives the same logits and pages."""

    def accepts(self, batch: ForwardBatch) -> bool:
        """Whether `run` may be called with this batch now, before anything else changes."""

    def run(self, batch: ForwardBatch) -> Tensor:
        """Logits (N, V) at `batch.outputs`; writes to the sequences' pages."""

    def invalidate(self) -> None:
        """Forget everything that was derived from the weights; it is derived anew when next needed."""
