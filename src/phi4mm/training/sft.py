"""Supervised fine-tuning: the loss of the right answers. Pre-training on examples is the same, with more parameters."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from phi4mm.model.phi4mm import Phi4MM
from phi4mm.training import losses
from phi4mm.training.collate import TrainingBatch
from phi4mm.training.forward import forward
from phi4mm.training.loop import Objective


def answer_loss(model: Phi4MM, batch: TrainingBatch) -> Tensor:
    """The cross entropy of the answers, a mean over labels."""
    return losses.cross_entropy(forward(model, batch).hidden, model.text.embed_tokens.weight, batch.labels)


class AnswerTraining(Objective[TrainingBatch]):
    """Trains a model on the answers of examples."""

    weights: ClassVar = {"answer": 1.0}

    def __init__(self, model: Phi4MM) -> None:
        super().__init__()
        self.model = model

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """`answer`, a mean over labels."""
        return {"answer": answer_loss(self.model, batch)}

    def counts(self, batch: TrainingBatch) -> dict[str, int]:
        """Labels."""
        return {"answer": len(batch.labels)}
