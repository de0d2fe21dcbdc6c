"""Group relative policy optimization: its formulas, and that engine and trainer compute the same probabilities."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from phi4mm.errors import ConfigError
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.processing.processor import Processor
from phi4mm.processing.tokenizer import Special
from phi4mm.protocol.sampling import SamplingParams
from phi4mm.training import losses
from phi4mm.training.data import make_training_example
from phi4mm.training.forward import forward
from phi4mm.training.grpo import GroupPolicy, RolloutBatch, advantages
from phi4mm.training.optimizers import make_adamw, select_trainable
from phi4mm.training.preference import with_adapter
from phi4mm.training.rollout import Rollout, Rollouts, filter_of, sample_batch
from tests.training.conftest import EXAMPLES

Score = Callable[[int, Rollout], float]
SAMPLING = (
    SamplingParams(temperature=1.0, max_tokens=6, n=4),
    SamplingParams(temperature=0.6, top_p=0.8, max_tokens=6, n=4),
    SamplingParams(temperature=0.6, top_k=20, max_tokens=6, n=4),
    SamplingParams(temperature=0.6, min_p=0.2, max_tokens=6, n=4),
)


def rolled_out(model: Phi4MM, processor: Processor, params: SamplingParams, score: Score | None = None) -> RolloutBatch:
    examples = [make_training_example(EXAMPLES[name], processor) for name in ("text", "image", "audio")]
    ends = (processor.tokenizer.id(Special.END), processor.tokenizer.id(Special.ENDOFTEXT))
    return sample_batch(Rollouts(model, ends), examples, score or length, "speech", params, 7, 96)


def length(_number: int, answer: Rollout) -> float:
    return float(answer.ids[0] % 7)


@pytest.mark.parametrize("params", SAMPLING)
def test_engine_and_trainer_give_every_sampled_token_the_same_probability(
    model: Phi4MM, processor: Processor, params: SamplingParams
) -> None:
    """Prevents a policy gradient of another distribution than the answers came from, with every filter."""
    batch = rolled_out(model, processor, params)
    with torch.no_grad():
        ratio, kl = GroupPolicy(model, "speech", params.temperature, filter_of(params)).ratio(batch)
    assert len(ratio) >= 12 and (ratio - 1).abs().max() < 1e-5 and abs(kl) < 1e-6
    assert (batch.old < -0.01).any()


def test_advantages_sum_to_zero_in_each_group_and_are_zero_where_all_rewards_agree() -> None:
    """Prevents a group of equal answers from being pushed anywhere."""
    found = advantages(torch.tensor([[0.0, 1.0, 1.0, 4.0], [2.0, 2.0, 2.0, 2.0]]))
    assert found.sum(1).tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    assert found[0].square().mean().item() == pytest.approx(1.0, abs=1e-4)
    assert found[1].tolist() == [0.0] * 4


def test_at_ratio_one_the_gradient_is_the_plain_policy_gradient(model: Phi4MM, processor: Processor) -> None:
    """Prevents a clip or a ratio that changes the first step."""
    params = SAMPLING[0]
    batch = rolled_out(model, processor, params)
    select_trainable(model, adapters=("speech",))
    GroupPolicy(model, "speech", params.temperature, filter_of(params)).losses(batch)["policy"].backward()
    ours = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    training = with_adapter(batch.training, "speech")
    hidden = forward(model, training).hidden
    logprobs = losses.label_logprobs(hidden, model.text.embed_tokens.weight, training.labels)
    (-(logprobs * batch.advantages).mean()).backward()
    assert ours.keys() == {name for name, p in model.named_parameters() if p.grad is not None}
    for name, parameter in model.named_parameters():
        if name in ours:
            torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-3, atol=1e-7)


def test_a_few_steps_make_rewarded_answers_more_likely(model: Phi4MM, processor: Processor) -> None:
    """Prevents the wrong sign, and answers that are credited with another answer's reward."""
    params = SamplingParams(temperature=1.0, max_tokens=3, n=8)
    even: Score = lambda _, answer: float(answer.ids[0] % 2 == 0)  # noqa: E731
    select_trainable(model, prefixes=("text.",))
    objective, optimizer = GroupPolicy(model, "speech", params.temperature, filter_of(params)), make_adamw(model)
    for group in optimizer.param_groups:
        group["lr"] = 5e-3
    rewards = []
    for _ in range(40):
        batch = rolled_out(model, processor, params, even)
        rewards.append(sum(batch.rewards) / len(batch.rewards))
        optimizer.zero_grad()
        objective.losses(batch)["policy"].backward()
        optimizer.step()
    assert objective.observed.keys() == {"reward", "ratio", "ratio spread", "kl"}
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.2


def test_answers_of_other_weights_than_the_trainers_stop_the_training(model: Phi4MM, processor: Processor) -> None:
    """Prevents learning from answers whose probabilities the trainer does not know, as with a quantized engine."""
    params = SAMPLING[0]
    batch = rolled_out(model, processor, params)
    other = RolloutBatch(batch.training, batch.advantages, batch.old - 1, batch.rewards)
    with pytest.raises(ConfigError, match="the engine drew from other probabilities than the trainer computes"):
        GroupPolicy(model, "speech", params.temperature, filter_of(params)).losses(other)


def test_a_ratio_outside_the_clip_has_no_gradient(model: Phi4MM, processor: Processor) -> None:
    """Prevents a second step on the same answers from moving as far as the first."""
    params = SAMPLING[0]
    batch = rolled_out(model, processor, params)
    moved = RolloutBatch(batch.training, torch.ones_like(batch.advantages), batch.old - 0.3, batch.rewards)
    select_trainable(model, adapters=("speech",))
    GroupPolicy(model, "speech", params.temperature, filter_of(params)).losses(moved)["policy"].backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(temperature=0.0),
        SamplingParams(temperature=1.0, repetition_penalty=1.1),
        SamplingParams(temperature=1.0, logit_bias=((1, 2.0),)),
    ],
)
def test_parameters_whose_distribution_the_trainer_cannot_compute_are_refused(
    model: Phi4MM, processor: Processor, params: SamplingParams
) -> None:
    """Prevents rollouts that no ratio is right for."""
    with pytest.raises(ConfigError, match="rollouts are sampled"):
        rolled_out(model, processor, params)
