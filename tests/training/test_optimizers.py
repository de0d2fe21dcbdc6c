"""The choice of trained parameters, the parameter groups of AdamW, and the learning rate schedule."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from phi4mm.errors import ConfigError
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.training.optimizers import ParameterGroup, Schedule, Shape, make_adamw, select_trainable


def test_the_learning_rate_rises_to_the_peak_and_falls_to_a_twentieth() -> None:
    """Prevents a schedule off by one, or one that ends at zero long before the last step."""
    schedule = Schedule(steps=1000, peak=1.0, warm_up=100)
    assert schedule.rate(0) == pytest.approx(0.01)
    assert schedule.rate(99) == schedule.rate(100) == pytest.approx(1.0)
    assert schedule.rate(550) == pytest.approx(0.525)
    assert schedule.rate(1000) == pytest.approx(0.05)


@pytest.mark.parametrize(("shape", "middle", "end"), [("linear", 0.6, 0.2), ("constant", 1.0, 1.0)])
def test_linear_and_constant_schedules_follow_their_names(shape: Shape, middle: float, end: float) -> None:
    """Prevents a setting that has no effect."""
    schedule = Schedule(steps=100, peak=1.0, warm_up=0, decay=50, floor=0.2, shape=shape)
    assert [schedule.rate(step) for step in (25, 50, 90)] == pytest.approx([middle, end, end])


def test_an_unknown_shape_is_refused() -> None:
    """Prevents a misspelt shape from meaning the cosine."""
    with pytest.raises(ConfigError, match="shape is 'cosign'; expected one of cosine, linear, constant"):
        Schedule(1, 1.0, shape="cosign")  # type: ignore[arg-type]


def test_only_the_named_parameters_are_trained(model: Phi4MM) -> None:
    """Prevents fine-tuning one adapter from changing the base model, the other adapter or the towers."""
    names = select_trainable(model, prefixes=("audio.projection.",), adapters=("speech",))
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == set(names)
    assert all(name.endswith(".speech") or name.startswith("audio.projection.") for name in names)
    assert len([name for name in names if name.endswith("lora_b.speech")]) == 4 * model.config.text.num_layers
    assert len([name for name in names if name.startswith("audio.projection.")]) == 8


def test_a_name_that_matches_no_parameter_is_refused_with_a_suggestion(model: Phi4MM) -> None:
    """Prevents hours of training that changes no parameter."""
    with pytest.raises(
        ConfigError, match=r"no parameter name begins with 'audio.projecton'; did you mean audio.projection"
    ):
        select_trainable(model, prefixes=("audio.projecton",))
    with pytest.raises(ConfigError, match="no adapter 'speach'; did you mean speech"):
        select_trainable(model, adapters=("speach",))


def test_groups_have_their_own_rate_and_decay_and_the_first_match_wins() -> None:
    """Prevents an encoder with a low learning rate from being trained at the decoder's rate."""
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    module[2].requires_grad_(False)
    slow, rest = ParameterGroup(("0.",), rate=0.1, weight_decay=0.0), ParameterGroup(weight_decay=0.5)
    optimizer = make_adamw(module, (slow, rest), betas=(0.5, 0.6), eps=1e-7)
    first, second = optimizer.param_groups
    assert (first["rate"], first["weight_decay"], second["rate"], second["weight_decay"]) == (0.1, 0.0, 1.0, 0.5)
    assert (first["betas"], first["eps"]) == ((0.5, 0.6), 1e-7)
    assert [id(p) for p in first["params"]] == [id(p) for p in module[0].parameters()]
    assert [id(p) for p in second["params"]] == [id(p) for p in module[1].parameters()]


def test_a_parameter_without_a_group_and_a_group_without_parameters_are_refused() -> None:
    """Prevents parameters that require gradients and are never updated."""
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(ConfigError, match=r"2 trained parameters are in no group, such as 1\.weight"):
        make_adamw(module, (ParameterGroup(("0.",)),))
    with pytest.raises(ConfigError, match=r"the group \('1\.',\) matches no trained parameter outside earlier groups"):
        make_adamw(module, (ParameterGroup(), ParameterGroup(("1.",))))
    with pytest.raises(ConfigError, match="matches no trained parameter"):
        make_adamw(nn.Linear(1, 1).requires_grad_(False))


def test_one_step_without_gradient_history_moves_by_the_rate() -> None:
    """Prevents settings passed to the optimizer in the wrong order: Adam's first step equals the learning rate."""
    module = nn.Linear(1, 1, bias=False)
    optimizer = make_adamw(module, (ParameterGroup(weight_decay=0.0),))
    optimizer.param_groups[0]["lr"] = 0.25
    before = module.weight.item()
    module.weight.grad = torch.full_like(module.weight, 3.0)
    optimizer.step()
    assert before - module.weight.item() == pytest.approx(0.25, rel=1e-4)
