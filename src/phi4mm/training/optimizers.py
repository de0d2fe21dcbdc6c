"""Choice of trained parameters by name, AdamW over parameter groups, and the learning rate schedule."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import nn

from phi4mm.config.validate import nearest, one_of, shown
from phi4mm.errors import ConfigError

Shape: TypeAlias = Literal["cosine", "linear", "constant"]
SHAPES: tuple[Shape, ...] = ("cosine", "linear", "constant")
_ADAPTER = re.compile(r"\.lora_[ab]\.([^.]+)$")


@dataclass(frozen=True)
class Schedule:
    """The learning rate: rises to `peak` in `warm_up` steps, then falls to `floor` times `peak` at step `decay`.

    steps   how many steps are taken
    decay   the step at which the decay ends; 0 for the last step
    shape   of the decay; `constant` stays at the peak
    raises  ConfigError for an unknown shape
    """

    steps: int
    peak: float
    warm_up: int = 200
    decay: int = 0
    floor: float = 0.05
    shape: Shape = "cosine"

    def __post_init__(self) -> None:
        """Raises ConfigError for an unknown shape."""
        one_of("shape", self.shape, SHAPES)

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if step < self.warm_up:
            return self.peak * (step + 1) / self.warm_up
        if self.shape == "constant":
            return self.peak
        done = min(1.0, (step - self.warm_up) / max(1, (self.decay or self.steps) - self.warm_up))
        if self.shape == "linear":
            return self.peak * (self.floor + (1 - self.floor) * (1 - done))
        return self.peak * (self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done)))


@dataclass(frozen=True)
class ParameterGroup:
    """AdamW settings of the trained parameters whose names begin with one of `prefixes`.

    rate  factor of the schedule's learning rate
    """

    prefixes: tuple[str, ...] = ("",)
    rate: float = 1.0
    weight_decay: float = 0.01


def select_trainable(module: nn.Module, *, prefixes: Sequence[str] = (), adapters: Sequence[str] = ()) -> list[str]:
    """Train the parameters whose names begin with a prefix and the LoRA of the named adapters, freeze all others.

    A prefix chooses no LoRA: matrices of an adapter learn only when the adapter is named.

    Sets `requires_grad` in place and returns the names of the trained parameters.

    raises  ConfigError for a prefix or an adapter that matches no parameter
    """
    names = [name for name, _ in module.named_parameters()]
    adapter_of = {name: match[1] for name in names if (match := _ADAPTER.search(name))}
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            raise ConfigError(f"no parameter name begins with {shown(prefix)}; {nearest(prefix, _prefixes(names))}")
    for adapter in adapters:
        if adapter not in adapter_of.values():
            known = sorted(set(adapter_of.values()))
            raise ConfigError(f"the model has no adapter {shown(adapter)}; {nearest(adapter, known)}")
    for name, parameter in module.named_parameters():
        prefixed = name not in adapter_of and name.startswith(tuple(prefixes))
        chosen = prefixed or adapter_of.get(name) in adapters
        parameter.requires_grad_(chosen)
    return [name for name, parameter in module.named_parameters() if parameter.requires_grad]


def make_adamw(
    module: nn.Module,
    groups: Sequence[ParameterGroup] = (ParameterGroup(),),
    *,
    betas: tuple[float, float] = (0.9, 0.95),
    eps: float = 1e-8,
) -> torch.optim.AdamW:
    """AdamW over the trained parameters of a module; each belongs to the first group whose prefixes match its name.

    The Trainer sets the learning rates: each group's `rate` times that of the schedule.

    raises  ConfigError when nothing is trained, a group is empty or a trained parameter is in no group
    """
    members: list[list[nn.Parameter]] = [[] for _ in groups]
    ungrouped = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            number = next((n for n, group in enumerate(groups) if name.startswith(group.prefixes)), None)
            if number is None:
                ungrouped.append(name)
            else:
                members[number].append(parameter)
    if ungrouped:
        raise ConfigError(f"{len(ungrouped)} trained parameters are in no group, such as {ungrouped[0]}; add a group")
    for group, parameters in zip(groups, members, strict=True):
        if not parameters:
            raise ConfigError(
                f"the group {group.prefixes} matches no trained parameter outside earlier groups; change its prefixes"
            )
    settings = [
        {"params": parameters, "weight_decay": group.weight_decay, "rate": group.rate}
        for group, parameters in zip(groups, members, strict=True)
    ]
    return torch.optim.AdamW(settings, betas=betas, eps=eps, fused=True)


def _prefixes(names: Iterable[str]) -> list[str]:
    """The possible prefixes: every name up to each of its dots."""
    return sorted({name[:index] for name in names for index, letter in enumerate(name) if letter == "."})
