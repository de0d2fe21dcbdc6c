"""Alignment of nano: the adapters of DPO, a reward model and GRPO, and the answers that GRPO draws and scores."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import torch

from phi4mm.config.model import AdapterConfig
from phi4mm.metrics.edits import edit_distance
from phi4mm.model.adapter_weights import AdapterWeights, new_adapter
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.nano.batches import BatchMaker
from phi4mm.nano.recipe import ORIGINAL_CONTEXT, Alignment, Stage
from phi4mm.nano.synth import world
from phi4mm.nano.synth.example import Example
from phi4mm.processing.tokenizer import Special
from phi4mm.protocol.sampling import SamplingParams
from phi4mm.training.collate import collate
from phi4mm.training.data import TrainingExample
from phi4mm.training.grpo import GroupPolicy, RolloutBatch
from phi4mm.training.preference import DirectPreference, RewardTraining
from phi4mm.training.rollout import Rollout, Rollouts, filter_of, sample_batch, with_answer
from phi4mm.training.state import load_trained

RANK = AdapterConfig(rank=16, alpha=32, dropout=0.0)  # of an adapter that is made for a stage
REFERENCE = "reference"
PARTLY = 0.5  # the most that an answer gets that is not the right one


def add_stage_adapter(model: Phi4MM, alignment: Alignment, seed: int, *, trainable: bool = True) -> bool:
    """Add the adapter of a stage, which changes nothing yet; false when nano has it already."""
    if alignment.adapter in model.adapters:
        return False
    generator = torch.Generator().manual_seed(seed)
    model.add_adapter(alignment.adapter, new_adapter(model.config.text, RANK, generator), trainable=trainable)
    return True


def preference_objective(model: Phi4MM, alignment: Alignment, seed: int) -> DirectPreference:
    """DPO of the stage's adapter; its reference is the model without it, or a frozen copy of one that nano has."""
    if add_stage_adapter(model, alignment, seed):
        return DirectPreference(model, alignment.adapter, None, alignment.beta)
    own = model.adapter_weights(alignment.adapter)
    copy = {target: (a.detach().clone(), b.detach().clone()) for target, (a, b) in own.layers.items()}
    model.add_adapter(REFERENCE, AdapterWeights(copy, own.scaling))
    return DirectPreference(model, alignment.adapter, REFERENCE, alignment.beta)


def score_objective(model: Phi4MM, alignment: Alignment, seed: int) -> RewardTraining:
    """A reward model: the stage's adapter and a linear head."""
    add_stage_adapter(model, alignment, seed)
    return RewardTraining(model, alignment.adapter)


def trained_scorer(model: Phi4MM, alignment: Alignment, state: Path) -> RewardTraining:
    """The reward model of a finished stage, frozen, on the same model as the policy that it scores."""
    add_stage_adapter(model, alignment, 0, trainable=False)
    scorer = RewardTraining(model, alignment.adapter)
    load_trained(state, model, "model")
    load_trained(state, scorer.score, "score")
    return scorer


def policy_objective(model: Phi4MM, alignment: Alignment, seed: int) -> GroupPolicy:
    """GRPO of the stage's adapter."""
    add_stage_adapter(model, alignment, seed)
    params = sampling(alignment)
    return GroupPolicy(model, alignment.adapter, params.temperature, filter_of(params))


def sampling(alignment: Alignment) -> SamplingParams:
    """How the answers of a group are drawn."""
    return SamplingParams(temperature=alignment.temperature, max_tokens=alignment.max_tokens, n=alignment.answers)


@dataclass
class PolicyBatches:
    """Makes the batches of a stage that learns from rewards, with the weights that the model has at that moment.

    scorer  the reward model, for examples with a worse answer
    kept    the last set of answers and its number, for the other steps that use it
    """

    maker: BatchMaker
    rollouts: Rollouts
    stage: Stage
    alignment: Alignment
    seed: int
    scorer: RewardTraining | None = None
    kept: tuple[int, RolloutBatch] | None = None

    def __call__(self, number: int) -> RolloutBatch:
        """Batch `number`."""
        drawn = number // self.alignment.uses
        if self.kept is None or self.kept[0] != drawn:
            self.kept = drawn, self._draw(drawn)
        return self.kept[1]

    def _draw(self, number: int) -> RolloutBatch:
        rng = random.Random(f"{self.stage.name} {self.seed} {number}")
        examples: list[TrainingExample] = []
        made: list[Example] = []
        tokens = 0
        while tokens < self.stage.tokens:
            task, seed = self.maker.draw(self.stage, rng)
            examples.append(self.maker.example(task, seed).training)
            made.append(world.example("train", seed, task, world.silent))
            tokens += len(examples[-1].prompt.ids)

        def score(number: int, rollout: Rollout) -> float:
            if self.scorer is not None and made[number].rejected:
                return self._scored(self.scorer, with_answer(examples[number], rollout, None)) * rollout.finished
            return reward(made[number].answer, self._text(rollout), rollout.finished)

        params = sampling(self.alignment)
        adapter, seed = self.alignment.adapter, rng.getrandbits(40)
        return sample_batch(self.rollouts, examples, score, adapter, params, seed, ORIGINAL_CONTEXT)

    def _scored(self, scorer: RewardTraining, example: TrainingExample) -> float:
        """The probability, by the reward model, that the answer is better than one of score 0."""
        with torch.no_grad():
            score = scorer.scores(collate([example], ORIGINAL_CONTEXT), [sum(example.label_mask)])
        return float(score.sigmoid())

    def _text(self, rollout: Rollout) -> str:
        ids = rollout.ids[:-1] if rollout.finished else rollout.ids
        return self.maker.processor.tokenizer.decode(list(ids))


def policy_batches(
    model: Phi4MM, maker: BatchMaker, stage: Stage, seed: int, scorer: RewardTraining | None = None
) -> PolicyBatches:
    """The batches of a stage that learns from rewards, some of them by a reward model."""
    assert stage.alignment is not None, "the recipe's reader gives every stage of this goal its alignment"
    tokenizer = maker.processor.tokenizer
    rollouts = Rollouts(model, (tokenizer.id(Special.END), tokenizer.id(Special.ENDOFTEXT)))
    return PolicyBatches(maker, rollouts, stage, stage.alignment, seed, scorer)


def reward(reference: str, answer: str, finished: bool) -> float:
    """1 for the right answer, else up to PARTLY by the characters that are right; 0 for an answer without an end."""
    if not finished:
        return 0.0
    if answer == reference:
        return 1.0
    return PARTLY * max(0.0, 1 - edit_distance(reference, answer) / max(1, len(reference)))
