"""What runs a batch. The model runner tries its executors in order; the first that accepts a batch runs it.

N positions whose logits are wanted, V vocabulary.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from phi4mm.model.batch import ForwardBatch


class Executor(Protocol):
    """One way to run the model. All executors that accept a batch compute the same logits, keys and values."""

    def accepts(self, batch: ForwardBatch) -> bool:
        """Whether `run` may be called with this batch, as long as nothing changes in between."""

    def run(self, batch: ForwardBatch) -> Tensor:
        """Logits (N, V) at `batch.outputs`; writes to the sequences' pages."""

    def invalidate(self) -> None:
        """Forget everything that was derived from the weights; it is derived again when needed."""
