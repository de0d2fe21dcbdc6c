"""Pairs of a better and a worse answer to the same messages, and the two objectives that learn from them.

DPO trains an adapter to prefer the better answer over what its reference does: the model without the adapter, or with a
frozen copy of it. The reward model is a linear head that scores an answer.

N labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from phi4mm.model.phi4mm import Phi4MM
from phi4mm.protocol.inputs import Adapter
from phi4mm.training import losses
from phi4mm.training.collate import TrainingBatch, collate
from phi4mm.training.data import TrainingExample
from phi4mm.training.forward import forward
from phi4mm.training.loop import Objective


@dataclass(frozen=True)
class PreferenceBatch:
    """The better answers of some pairs, then the worse ones, in one training batch.

    lengths  labels of each answer
    """

    training: TrainingBatch
    lengths: tuple[int, ...]

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the pairs."""
        return self.training.rows[: self.pairs]

    @property
    def tokens(self) -> int:
        """Tokens of text and media."""
        return self.training.tokens

    @property
    def pairs(self) -> int:
        """How many pairs."""
        return len(self.lengths) // 2

    def to(self, device: torch.device) -> PreferenceBatch:
        """This batch on another device."""
        return replace(self, training=self.training.to(device))


def collate_pairs(
    pairs: Sequence[tuple[TrainingExample, TrainingExample]], original_max_positions: int
) -> PreferenceBatch:
    """One batch of (better, worse) pairs."""
    examples = [better for better, _ in pairs] + [worse for _, worse in pairs]
    lengths = tuple(sum(example.label_mask) for example in examples)
    return PreferenceBatch(collate(examples, original_max_positions), lengths)


class DirectPreference(Objective[PreferenceBatch]):
    """Direct preference optimization of an adapter (arXiv:2305.18290, equation 7).

    adapter    the policy's
    reference  the reference's: None for no adapter
    beta       how strongly the policy is held to its reference
    """

    weights: ClassVar = {"dpo": 1.0}

    def __init__(self, model: Phi4MM, adapter: Adapter, reference: Adapter | None = None, beta: float = 0.1) -> None:
        super().__init__()
        self.model = model
        self._adapter, self._reference, self._beta = adapter, reference, beta

    def losses(self, batch: PreferenceBatch) -> dict[str, Tensor]:
        """`dpo`, a mean over pairs; log 2 while the policy equals its reference."""
        with torch.no_grad():
            reference = answer_logprobs(self.model, batch, self._reference)
        better, worse = (answer_logprobs(self.model, batch, self._adapter) - reference).chunk(2)
        return {"dpo": -F.logsigmoid(self._beta * (better - worse)).mean()}

    def counts(self, batch: PreferenceBatch) -> dict[str, int]:
        """Pairs."""
        return {"dpo": batch.pairs}


def answer_logprobs(model: Phi4MM, batch: PreferenceBatch, adapter: Adapter | None) -> Tensor:
    """(answers,) float32 log-probability of each answer with an adapter, or without one."""
    training = with_adapter(batch.training, adapter)
    hidden = forward(model, training).hidden
    logprobs = losses.label_logprobs(hidden, model.text.embed_tokens.weight, training.labels)
    return torch.stack([part.sum() for part in logprobs.split(batch.lengths)])


def with_adapter(batch: TrainingBatch, adapter: Adapter | None) -> TrainingBatch:
    """The same batch, all of whose sequences run with `adapter`."""
    sequences = tuple(replace(sequence, adapter=adapter) for sequence in batch.text.sequences)
    return replace(batch, text=replace(batch.text, sequences=sequences))


class RewardTraining(Objective[PreferenceBatch]):
    """Trains a reward model: the score of an answer is a linear function of the hidden state before its last token.

    The loss is that of Bradley and Terry: minus the log-sigmoid of the difference of the scores of a pair.

    adapter  with which all answers are scored; None for no adapter
    """

    weights: ClassVar = {"reward": 1.0}

    def __init__(self, model: Phi4MM, adapter: Adapter | None = None) -> None:
        super().__init__()
        self.model, self._adapter = model, adapter
        self.score = nn.Linear(model.config.text.hidden_size, 1, bias=False)

    def losses(self, batch: PreferenceBatch) -> dict[str, Tensor]:
        """`reward`, a mean over pairs."""
        better, worse = self.scores(batch.training, batch.lengths).chunk(2)
        return {"reward": -F.logsigmoid(better - worse).mean()}

    def counts(self, batch: PreferenceBatch) -> dict[str, int]:
        """Pairs."""
        return {"reward": batch.pairs}

    def scores(self, batch: TrainingBatch, lengths: Sequence[int]) -> Tensor:
        """(answers,) float32 score of each answer; `lengths` are the labels of each."""
        last = torch.tensor(lengths, device=batch.labels.device).cumsum(0) - 1
        hidden = forward(self.model, with_adapter(batch, self._adapter)).hidden
        scores: Tensor = self.score(hidden[last])[:, 0]
        return scores.float()
