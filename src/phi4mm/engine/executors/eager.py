"""The model's own forward, module by module: runs every batch."""

from __future__ import annotations

from torch import Tensor

from phi4mm.model.batch import ForwardBatch
from phi4mm.model.phi4mm import Phi4MM


class EagerExecutor:
    """Reads the weights in every pass, so nothing is kept between passes."""

    def __init__(self, model: Phi4MM) -> None:
        self._model = model

    def accepts(self, batch: ForwardBatch) -> bool:
        """Always."""
        return True

    def run(self, batch: ForwardBatch) -> Tensor:
        """Logits (N, V) at `batch.outputs`; writes to the sequences' pages."""
        logits: Tensor = self._model(batch)
        return logits

    def invalidate(self) -> None:
        """Nothing is kept."""
