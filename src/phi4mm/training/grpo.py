"""Group relative policy optimization (arXiv:2402.03300): several answers to each prompt, better ones made more likely.

The advantage of an answer is its reward minus the mean of its group, over the group's deviation. A step may use the
answers of an earlier step again; the ratio of probabilities, new over old, is then clipped.

G answers of a group, N labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from phi4mm.errors import ConfigError
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.protocol.inputs import Adapter
from phi4mm.training import losses
from phi4mm.training.collate import TrainingBatch
from phi4mm.training.forward import forward
from phi4mm.training.loop import Objective
from phi4mm.training.preference import with_adapter

EPSILON = 1e-6  # added to a group's deviation
MAX_KL = 0.1  # nats a token between the sampling engine and the trainer; more means that they disagree


@dataclass(frozen=True)
class RolloutBatch:
    """Sampled answers, with what is needed to learn from them.

    training    prompts with their answers
    advantages  (N,) of each label: that of its answer
    old         (N,) log-probability of each label when it was drawn
    rewards     of each answer
    """

    training: TrainingBatch
    advantages: Tensor
    old: Tensor
    rewards: tuple[float, ...]

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the examples, once for each answer."""
        return self.training.rows

    @property
    def tokens(self) -> int:
        """Tokens of text and media."""
        return self.training.tokens

    def to(self, device: torch.device) -> RolloutBatch:
        """This batch on another device."""
        return replace(
            self,
            training=self.training.to(device),
            advantages=self.advantages.to(device),
            old=self.old.to(device),
        )


def advantages(rewards: Tensor) -> Tensor:
    """(groups, G) rewards -> (groups, G): each minus its group's mean, over the group's deviation."""
    centred = rewards - rewards.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True).sqrt() + EPSILON)


class GroupPolicy(Objective[RolloutBatch]):
    """The clipped policy gradient of an adapter, a mean over all labels of the step.

    temperature  of the sampler that drew the answers
    keep         its filter, as in `losses.label_logprobs`
    clip         how far the ratio may move from 1 before it has no gradient
    """

    weights: ClassVar = {"policy": 1.0}

    def __init__(
        self,
        model: Phi4MM,
        adapter: Adapter | None,
        temperature: float = 1.0,
        keep: losses.Keep | None = None,
        clip: float = 0.2,
    ) -> None:
        super().__init__()
        self.model = model
        self._adapter, self._temperature, self._keep, self._clip = adapter, temperature, keep, clip

    def losses(self, batch: RolloutBatch) -> dict[str, Tensor]:
        """`policy`. Raises ConfigError when the trainer's probabilities are not those that the engine drew from."""
        ratio, kl = self.ratio(batch)
        spread = float(ratio.detach().std(correction=0))
        reward = sum(batch.rewards) / len(batch.rewards)
        self.observed = {"reward": reward, "ratio": float(ratio.detach().mean()), "ratio spread": spread, "kl": kl}
        if not kl <= MAX_KL:
            raise ConfigError(
                f"the engine drew from other probabilities than the trainer computes: {kl:.3g} nats a token; expected "
                f"at most {MAX_KL}. Lower the learning rate, or train in float32"
            )
        clipped = ratio.clamp(1 - self._clip, 1 + self._clip)
        return {"policy": -torch.minimum(ratio * batch.advantages, clipped * batch.advantages).mean()}

    def ratio(self, batch: RolloutBatch) -> tuple[Tensor, float]:
        """(N,) probability of each label now over that when it was drawn, and an estimate of the KL divergence a token.

        The estimate is ratio - 1 - log ratio, which is never below 0.
        """
        training = with_adapter(batch.training, self._adapter)
        hidden = forward(self.model, training).hidden
        head = self.model.text.embed_tokens.weight
        now = losses.label_logprobs(hidden, head, training.labels, self._temperature, self._keep)
        log_ratio = now - batch.old
        ratio = log_ratio.exp()
        return ratio, float((ratio - 1 - log_ratio).detach().mean())

    def counts(self, batch: RolloutBatch) -> dict[str, int]:
        """Labels."""
        return {"policy": len(batch.old)}
