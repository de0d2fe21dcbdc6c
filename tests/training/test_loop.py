"""A training that cannot be stopped and gone on with is lost with the first reboot."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from phi4mm.errors import CheckpointError
from phi4mm.training.loop import Prefetch, Schedule, Trainer


def make(step: int) -> Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(step))


def trainer(path: Path, steps: int) -> tuple[Trainer, Callable[[Tensor], dict[str, Tensor]]]:
    torch.manual_seed(0)
    module = nn.Linear(3, 1)
    made = Trainer(module, Schedule(steps, 1e-2, warm_up=2, decay=8), path)
    return made, lambda x: {"fit": (module(x) - x.sum(1, keepdim=True)).square().mean()}


def test_a_resumed_run_ends_exactly_as_an_unbroken_one(tmp_path: Path) -> None:
    """Prevents moments, step or learning rate from starting anew after a break."""
    whole, losses = trainer(tmp_path / "whole", 8)
    whole.run(make, losses, {"fit": 1.0})
    first, losses = trainer(tmp_path / "broken", 3)
    first.run(make, losses, {"fit": 1.0})
    second, losses = trainer(tmp_path / "broken", 8)
    second.resume()
    assert second.step == 3
    second.run(make, losses, {"fit": 1.0})
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, second.module.state_dict()[name]), name


def test_a_state_of_another_model_is_refused_by_name(tmp_path: Path) -> None:
    """Prevents a resume that silently starts from random weights."""
    made, losses = trainer(tmp_path / "state", 1)
    made.run(make, losses, {"fit": 1.0})
    other = Trainer(nn.Linear(5, 1), Schedule(2, 1e-3), tmp_path / "state")
    with pytest.raises(CheckpointError, match=r"(?s)state does not fit this model.*weight"):
        other.resume()


def test_a_failed_save_leaves_the_last_state_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a full disk from destroying what was saved before."""
    made, losses = trainer(tmp_path / "state", 1)
    made.run(make, losses, {"fit": 1.0})
    before = (tmp_path / "state").read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("phi4mm.training.loop.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        made.save()
    assert (tmp_path / "state").read_bytes() == before


def test_the_learning_rate_climbs_peaks_and_falls_to_a_twentieth() -> None:
    """Prevents a schedule off by one, or one that ends at zero long before the last step."""
    schedule = Schedule(steps=1000, peak=1.0, warm_up=100)
    assert schedule.rate(0) == pytest.approx(0.01)
    assert schedule.rate(99) == schedule.rate(100) == pytest.approx(1.0)
    assert schedule.rate(550) == pytest.approx(0.525)
    assert schedule.rate(1000) == pytest.approx(0.05)


def test_one_large_gradient_is_clipped(tmp_path: Path) -> None:
    """Prevents a single bad batch from throwing the weights far away."""
    module = nn.Linear(1, 1, bias=False)
    made = Trainer(module, Schedule(1, 1.0, warm_up=1, weight_decay=0.0), tmp_path / "state")
    made._take_step({"fit": (1e6 * module.weight).sum()}, {"fit": 1.0})
    assert module.weight.grad is not None and module.weight.grad.norm() <= 1.0 + 1e-4


def test_prefetch_makes_its_own_numbers_in_order_in_another_process() -> None:
    """Prevents two processes of a training from learning the same batches, and batches out of order."""
    found = list(Prefetch(number_and_process, 1, 8, 2))
    assert [number for number, _ in found] == [1, 3, 5, 7]
    assert {process for _, process in found}.isdisjoint({os.getpid()})


def number_and_process(number: int) -> tuple[int, int]:
    return number, os.getpid()
