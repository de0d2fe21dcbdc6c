"""Learning from pairs of answers: DPO against its formula, its reference, and the reward model."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from phi4mm.config.model import AdapterConfig
from phi4mm.model.adapter_weights import new_adapter
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.processing.processor import Processor
from phi4mm.training.data import TrainingExample, make_training_example
from phi4mm.training.optimizers import make_adamw, select_trainable
from phi4mm.training.preference import (
    DirectPreference,
    PreferenceBatch,
    RewardTraining,
    answer_logprobs,
    collate_pairs,
)
from tests.prompts import full_logits
from tests.training.conftest import EXAMPLES

ORIGINAL_MAX_POSITIONS = 96


@pytest.fixture
def batch(processor: Processor) -> PreferenceBatch:
    def pair(name: str, worse: str) -> tuple[TrainingExample, TrainingExample]:
        better = EXAMPLES[name]
        return make_training_example(better, processor), make_training_example(replace(better, answer=worse), processor)

    return collate_pairs([pair("two clips", "Go away, please."), pair("audio", "No.")], ORIGINAL_MAX_POSITIONS)


def add_policy(model: Phi4MM, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    model.add_adapter("policy", new_adapter(model.config.text, AdapterConfig(4, 8, 0.0), generator), trainable=True)
    select_trainable(model, adapters=("policy",))


def test_the_loss_is_log_2_while_the_policy_equals_its_reference(model: Phi4MM, batch: PreferenceBatch) -> None:
    """Prevents a reference of other weights than those that training began with."""
    add_policy(model)
    assert DirectPreference(model, "policy").losses(batch)["dpo"].item() == pytest.approx(math.log(2), abs=1e-6)
    same = DirectPreference(model, "speech", reference="speech").losses(batch)["dpo"]
    assert same.item() == pytest.approx(math.log(2), abs=1e-6)


def test_the_loss_equals_the_formula_on_logits_of_single_answers(
    model: Phi4MM, processor: Processor, batch: PreferenceBatch
) -> None:
    """Prevents labels of one answer from counting for another, and a wrong sign."""
    sums = []
    for name, text in (("two clips", ""), ("audio", ""), ("two clips", "Go away, please."), ("audio", "No.")):
        given = replace(EXAMPLES[name], answer=text or EXAMPLES[name].answer)
        example = make_training_example(given, processor)
        prompt = replace(example.prompt, ids=example.prompt.ids[:-1])
        logprobs = full_logits(model, prompt).log_softmax(-1)
        learned = [n for n, flag in enumerate(example.label_mask) if flag]
        sums.append(sum(logprobs[n - 1, example.prompt.ids[n]].item() for n in learned))
    with torch.no_grad():
        ours = answer_logprobs(model, batch, "speech")
        reference = answer_logprobs(model, batch, None)
        loss = DirectPreference(model, "speech", beta=0.3).losses(batch)["dpo"]
    assert ours.tolist() == pytest.approx(sums, abs=1e-4)
    better, worse = (ours - reference).chunk(2)
    assert loss.item() == pytest.approx(-F.logsigmoid(0.3 * (better - worse)).mean().item(), abs=1e-6)


def test_only_the_policys_adapter_learns_and_prefers_the_better_answers(model: Phi4MM, batch: PreferenceBatch) -> None:
    """Prevents training the reference, and learning the worse answers."""
    add_policy(model)
    before = {name: value.clone() for name, value in model.state_dict().items() if ".policy" not in name}
    objective, optimizer = DirectPreference(model, "policy", beta=0.5), make_adamw(model)
    optimizer.param_groups[0]["lr"] = 2e-2
    loss = float("inf")
    for _ in range(60):
        optimizer.zero_grad()
        total = objective.losses(batch)["dpo"]
        if (loss := total.item()) < 0.01:
            break
        total.backward()
        optimizer.step()
    assert loss < 0.01
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_merged_adapter_answers_as_it_did_beside_the_base(model: Phi4MM, batch: PreferenceBatch) -> None:
    """Prevents an aligned model whose exported weights are those of before."""
    add_policy(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_b.policy" in name:
                parameter.normal_(0, 0.05)
        beside, without = (answer_logprobs(model, batch, name) for name in ("policy", None))
        model.merge_adapter("policy")
        merged = answer_logprobs(model, batch, None)
    assert "policy" not in model.adapters
    torch.testing.assert_close(merged, beside, rtol=1e-5, atol=1e-4)
    assert (merged - without).abs().max() > 0.01


def test_a_reward_model_learns_to_score_the_better_answer_higher(model: Phi4MM, batch: PreferenceBatch) -> None:
    """Prevents scores of the wrong tokens, which no training could separate."""
    torch.manual_seed(0)
    objective = RewardTraining(model)
    select_trainable(objective, prefixes=("score", "model.text.layers"))
    optimizer = make_adamw(objective)
    for _ in range(80):
        optimizer.zero_grad()
        objective.losses(batch)["reward"].backward()
        optimizer.step()
    assert objective.losses(batch)["reward"].item() < 0.01
    better, worse = objective.scores(batch.training, batch.lengths).chunk(2)
    assert (better > worse + 4).all()
