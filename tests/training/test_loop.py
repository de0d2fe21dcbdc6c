"""The training loop: resuming, accumulation, several processes, saving and progress reports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from phi4mm.errors import CheckpointError, ConfigError
from phi4mm.training.loop import Objective, Prefetch, Progress, Trainer
from phi4mm.training.optimizers import ParameterGroup, Schedule, make_adamw, select_trainable
from phi4mm.training.state import read_progress

MEAN = "mean"  # name of the loss that some batches lack


@pytest.fixture(autouse=True)
def _batches_in_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_process(make: Callable[[int], Any], start: int, end: int, stride: int = 1) -> Generator[Any, None, None]:
        """`Prefetch` without its process, which takes seconds to start."""
        yield from map(make, range(start, end, stride))

    if "prefetch" not in request.node.name:
        monkeypatch.setattr("phi4mm.training.loop.Prefetch", in_process)


@dataclass(frozen=True)
class Numbers:
    """A batch of 2 to 4 vectors of 3 numbers; every third batch has no labels for the loss `mean`."""

    x: Tensor
    labelled: bool

    @property
    def rows(self) -> tuple[str, ...]:
        return tuple(f"{value:.3f}" for value in self.x[:, 0])

    @property
    def tokens(self) -> int:
        return self.x.numel()

    def to(self, device: torch.device) -> Numbers:
        return Numbers(self.x.to(device), self.labelled)


def make(number: int) -> Numbers:
    return Numbers(torch.randn(2 + number % 3, 3, generator=torch.Generator().manual_seed(number)), number % 3 > 0)


class Fit(Objective[Numbers]):
    """Learns the sum of three numbers; for labelled batches the mean square of the outputs is a second loss."""

    weights: ClassVar = {"fit": 1.0, "mean": 0.5}

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.dropout = nn.Linear(3, 4), nn.Dropout(dropout)
        self.out = nn.Linear(4, 1)

    def losses(self, batch: Numbers) -> dict[str, Tensor]:
        x = batch.x.to(self.out.weight.dtype)
        predicted = self.out(self.dropout(self.layer(x)))
        losses = {"fit": (predicted - x.sum(1, keepdim=True)).square().mean()}
        return losses | {MEAN: predicted.square().mean()} if batch.labelled else losses

    def counts(self, batch: Numbers) -> dict[str, int]:
        return {"fit": len(batch.x), "mean": len(batch.x) if batch.labelled else 0}


def trainer(
    path: Path, steps: int, *, dropout: float = 0.0, dtype: torch.dtype = torch.float32, **options: Any
) -> Trainer[Numbers]:
    objective = Fit(dropout).to(dtype)
    return Trainer(objective, make_adamw(objective), Schedule(steps, 1e-2, warm_up=2, decay=8), path, **options)


def gradient_norm(module: nn.Module) -> float:
    gradients = [parameter.grad.flatten() for parameter in module.parameters() if parameter.grad is not None]
    return torch.cat(gradients).norm().item()


@pytest.mark.parametrize(
    "options",
    [{}, {"accumulate": 3, "dropout": 0.5}, {"accumulate": 2, "dropout": 0.2, "autocast": torch.bfloat16, "seed": 7}],
)
def test_a_resumed_run_ends_exactly_like_an_uninterrupted_one(tmp_path: Path, options: dict[str, Any]) -> None:
    """Prevents moments, step, learning rate, batches or dropout from starting over after an interruption."""
    whole = trainer(tmp_path / "whole", 4, **options)
    whole.run(make)
    trainer(tmp_path / "interrupted", 2, **options).run(make)
    torch.manual_seed(99)  # random numbers drawn elsewhere in the program
    second = trainer(tmp_path / "interrupted", 4, **options)
    second.resume()
    assert second.step == 2
    second.run(make)
    states = [load_file(tmp_path / name) for name in ("whole", "interrupted")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_dropout_differs_from_step_to_step_and_with_the_seed(tmp_path: Path) -> None:
    """Prevents the same dropout mask in every step, which would train a smaller model."""
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    draws = []
    for step, seed in ((0, 0), (1, 0), (0, 1)):
        training = trainer(tmp_path / "state", 2, dropout=0.5, seed=seed)
        training.step = step
        torch.random.set_rng_state(before)
        draws.append(training._losses(make(0), 0)["fit"].item())
        assert torch.equal(torch.random.get_rng_state(), before), "the caller's random state changed"
    assert len(set(draws)) == 3


def test_accumulated_batches_equal_one_batch_of_them_all(tmp_path: Path) -> None:
    """Prevents a mean of means, which gives tokens of small batches more weight than those of large ones."""
    numbers = range(4)
    parts = trainer(tmp_path / "parts", 1, accumulate=4)
    step_losses, norm = parts._take_step([make(number) for number in numbers])
    whole = trainer(tmp_path / "whole", 1)
    outs = {number: whole.objective.losses(make(number)) for number in numbers}
    labels = {number: len(make(number).x) for number in numbers}
    fit = torch.stack([outs[n]["fit"] * labels[n] for n in numbers]).sum() / sum(labels.values())
    small = (outs[1][MEAN] * labels[1] + outs[2][MEAN] * labels[2]) / (labels[1] + labels[2])
    (fit + 0.5 * small).backward()
    assert step_losses == {"fit": pytest.approx(fit.item()), "mean": pytest.approx(small.item())}
    assert norm == pytest.approx(gradient_norm(whole.objective))


TWO_PROCESSES = """
import sys, torch
from pathlib import Path
import torch.distributed as dist
from tests.training import test_loop
rank, folder = int(sys.argv[1]), Path(sys.argv[2])
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
training = test_loop.trainer(folder / "two", 3, dtype=torch.float64)
for step in range(3):
    training._take_step([test_loop.make(2 * step + rank)])
if rank == 0:
    training.save()
dist.destroy_process_group()
"""


def test_two_processes_equal_one_that_accumulates(tmp_path: Path) -> None:
    """Prevents a loss averaged per process, in which few labels would weigh as much as many."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((os.getcwd(), *sys.path))}
    command = [sys.executable, "-c", TWO_PROCESSES]
    ranks = [subprocess.Popen([*command, str(rank), str(tmp_path)], env=environment) for rank in (0, 1)]
    assert [process.wait(120) for process in ranks] == [0, 0]
    one = trainer(tmp_path / "one", 3, accumulate=2, dtype=torch.float64)
    two = trainer(tmp_path / "two", 3, dtype=torch.float64)
    one.run(make)
    two.resume()
    for name, value in one.objective.state_dict().items():
        torch.testing.assert_close(two.objective.state_dict()[name], value, rtol=0, atol=1e-10)


def test_a_saved_state_holds_trained_weights_and_no_frozen_ones(tmp_path: Path) -> None:
    """Prevents saving eleven gigabytes of unchanged weights with every state of a fine-tuning."""
    objective = Fit()
    select_trainable(objective, prefixes=("out.",))
    before = objective.layer.weight.clone()
    training = Trainer(objective, make_adamw(objective), Schedule(2, 1e-2), tmp_path / "state")
    training.run(make)
    assert torch.equal(objective.layer.weight, before) and objective.layer.weight.grad is None
    assert read_progress(tmp_path / "state").step == 2
    other = Fit()
    with pytest.raises(CheckpointError, match=r"state does not fit this model; missing: layer\.bias, layer\.weight"):
        Trainer(other, make_adamw(other), Schedule(2, 1e-2), tmp_path / "state").resume()
    select_trainable(other, prefixes=("out.",))
    Trainer(other, make_adamw(other), Schedule(2, 1e-2), tmp_path / "state").resume()
    assert torch.equal(other.out.weight, objective.out.weight)


def test_a_state_of_another_model_is_refused_with_the_names_of_the_wrong_tensors(tmp_path: Path) -> None:
    """Prevents resuming with random weights without an error."""
    training = trainer(tmp_path / "state", 1)
    training.run(make)
    other = Fit()
    other.layer = nn.Linear(5, 4)
    with pytest.raises(CheckpointError, match=r"misshaped: layer\.weight is \(4, 3\), expected \(4, 5\)"):
        Trainer(other, make_adamw(other), Schedule(2, 1e-3), tmp_path / "state").resume()


def test_a_failed_save_leaves_the_previous_state_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a full disk from destroying the previously saved state."""
    training = trainer(tmp_path / "state", 1)
    training.run(make)
    before = (tmp_path / "state").read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("phi4mm.training.state.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        training.save()
    assert (tmp_path / "state").read_bytes() == before


def test_a_large_gradient_is_clipped_and_its_norm_reported(tmp_path: Path) -> None:
    """Prevents a single bad batch from changing the weights by a large amount."""
    training = trainer(tmp_path / "state", 1, max_norm=0.5)
    _, norm = training._take_step([Numbers(1e6 * make(0).x, False)])
    assert norm > 1e6 and gradient_norm(training.objective) == pytest.approx(0.5, rel=1e-3)


def damaged(number: int) -> Numbers:
    return Numbers(torch.full((2, 3), float("nan")), False) if number % 2 else make(number)


def test_a_step_without_a_finite_gradient_is_skipped_and_counted(tmp_path: Path) -> None:
    """Prevents one bad audio clip from ending a training of hours, and from changing the weights."""
    training, reports = trainer(tmp_path / "state", 4), list[Progress]()
    training._take_step([make(0)])
    before = {name: value.clone() for name, value in training.objective.state_dict().items()}
    training._take_step([damaged(1)])
    assert all(torch.equal(value, before[name]) for name, value in training.objective.state_dict().items())
    training.run(damaged, reports.append)
    assert reports[-1].skipped == 2 and reports[-1].step == 4


def test_three_steps_in_a_row_without_a_finite_gradient_end_the_training_with_their_rows(tmp_path: Path) -> None:
    """Prevents a saved state of NaN values from replacing the last good one, and an error that names no example."""
    training = trainer(tmp_path / "state", 9)
    before = training.objective.state_dict()["layer.weight"].clone()
    told = r"not finite in 3 steps in a row \(now nan\).* check these rows: step 0: nan, nan; step 1: nan, nan; step 2"
    with pytest.raises(ConfigError, match=told):
        training.run(lambda _: damaged(1))
    assert torch.equal(training.objective.state_dict()["layer.weight"], before) and not (tmp_path / "state").exists()


def test_a_training_that_is_told_to_stop_saves_and_goes_on_exactly(tmp_path: Path) -> None:
    """Prevents SIGTERM from losing the steps since the last save."""
    whole, stopped = trainer(tmp_path / "whole", 4), trainer(tmp_path / "stopped", 4)
    assert whole.run(make)

    def make_and_stop(number: int) -> Numbers:
        if number == 1:
            stopped.stop()
        return make(number)

    assert not stopped.run(make_and_stop)
    assert read_progress(tmp_path / "stopped").step == 2
    second = trainer(tmp_path / "stopped", 4)
    second.resume()
    assert second.run(make)
    states = [load_file(tmp_path / name) for name in ("whole", "stopped")]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_each_group_multiplies_the_schedules_rate_by_its_own_factor(tmp_path: Path) -> None:
    """Prevents parameter groups from all using the same learning rate."""
    objective = Fit()
    optimizer = make_adamw(objective, (ParameterGroup(("layer.",), rate=0.1), ParameterGroup()))
    Trainer(objective, optimizer, Schedule(1, 1.0, warm_up=4), tmp_path / "state")._take_step([make(0)])
    assert [group["lr"] for group in optimizer.param_groups] == [pytest.approx(0.025), 0.25]


def test_progress_is_reported_before_the_first_step_after_it_and_at_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prevents minutes without a report, and a library that prints by itself."""
    reports: list[Progress] = []
    training = trainer(tmp_path / "state", 5)
    training.run(make, reports.append)
    assert [(progress.step, progress.steps) for progress in reports] == [(0, 5), (1, 5), (5, 5)]
    assert [set(progress.losses) for progress in reports] == [set(), {"fit"}, {"fit", "mean"}]
    assert all(progress.gradient_norm > 0 and progress.steps_per_second > 0 for progress in reports[1:])
    assert all(progress.tokens_per_second > progress.steps_per_second for progress in reports[1:])
    assert [progress.seconds_left > 0 for progress in reports] == [True, True, False]
    assert [progress.rate for progress in reports[1:]] == [training.schedule.rate(0), training.schedule.rate(4)]
    assert capsys.readouterr() == ("", "")


def test_prefetch_makes_every_stride_th_batch_in_order_in_another_process() -> None:
    """Prevents two processes of a training from using the same batches, and batches out of order."""
    results = list(Prefetch(number_and_process, 1, 8, 2))
    assert [number for number, _ in results] == [1, 3, 5, 7]
    assert {process for _, process in results}.isdisjoint({os.getpid()})


def number_and_process(number: int) -> tuple[int, int]:
    return number, os.getpid()
