"""The loop of every training: micro batches, losses, gradients, a step, and a state that a later run goes on from.

Batch number n is made by a plain function of n. A step of P processes (torch.distributed, as under torchrun) that
accumulate A micro batches each takes the next P * A numbers, so the same step learns the same however it is shared out.
"""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from phi4mm.errors import ConfigError
from phi4mm.training.optimizers import Schedule
from phi4mm.training.state import SavedProgress, load_state, save_state
from phi4mm.training.workers import worker_pool

REPORT_SECONDS = 10.0
SAVE_SECONDS = 120.0
AHEAD = 4  # batches made before they are needed

T = TypeVar("T")


class Batch(Protocol):
    """What a step works on."""

    def to(self, device: torch.device, /) -> Any:
        """The same on another device."""


B = TypeVar("B", bound=Batch)


class Objective(nn.Module, ABC, Generic[B]):
    """What is trained, as a module, and what is minimised: the sum of its losses times their `weights`."""

    weights: ClassVar[Mapping[str, float]]

    @abstractmethod
    def losses(self, batch: B) -> dict[str, Tensor]:
        """Scalars by name, each a mean over what `counts` tells; a batch may lack some."""

    @abstractmethod
    def counts(self, batch: B) -> dict[str, int]:
        """How many labels, clips or other things each loss of the batch is a mean over, known before any pass."""


@dataclass(frozen=True)
class Progress:
    """How a training goes.

    losses            mean since the last report, by name, of this process's batches; empty before the first step
    rate              the learning rate of the last step, before the factors of groups
    gradient_norm     of the last step, before clipping
    steps_per_second  since the last report
    """

    step: int
    steps: int
    losses: dict[str, float]
    rate: float
    gradient_norm: float
    steps_per_second: float


class Prefetch(Generic[T]):
    """Batches made in one other process, a few ahead: numbers `start`, `start + stride` and so on below `end`.

    make  a plain function of the batch's number, which the other process can import
    """

    def __init__(self, make: Callable[[int], T], start: int, end: int, stride: int = 1) -> None:
        self._make, self._numbers = make, iter(range(start, end, stride))

    def __iter__(self) -> Generator[T, None, None]:
        waiting: deque[Future[T]] = deque()
        with worker_pool(1, partial(torch.set_num_threads, 1)) as pool:
            while True:
                while len(waiting) < AHEAD and (number := next(self._numbers, None)) is not None:
                    waiting.append(pool.submit(self._make, number))
                if not waiting:
                    return
                yield waiting.popleft().result()


class Trainer(Generic[B]):
    """An objective, its optimizer and how far they are. `state` is the file that keeps all three.

    device      where it is trained; the objective is moved there in place
    accumulate  micro batches a step in each process: equal to one batch of them all, in the memory of one
    autocast    bfloat16 to compute the losses under torch's autocast; None in the parameters' own dtype
    max_norm    gradients longer than this are shortened to it
    seed        of dropout, which depends on it and the batch's number alone
    """

    def __init__(
        self,
        objective: Objective[B],
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        state: Path,
        *,
        device: torch.device | str = "cpu",
        accumulate: int = 1,
        autocast: torch.dtype | None = None,
        max_norm: float = 1.0,
        seed: int = 0,
    ) -> None:
        self._device = torch.device(device)
        self.objective = objective.to(self._device)
        self.optimizer, self.schedule, self.state = optimizer, schedule, state
        self._accumulate, self._autocast, self._max_norm, self._seed = accumulate, autocast, max_norm, seed
        self._rank, self._processes = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        self._parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self.step, self.seconds = 0, 0.0

    def run(self, make: Callable[[int], B], report: Callable[[Progress], None] | None = None) -> None:
        """Take the steps that are left, saving the state now and then and at the end.

        make    a batch by its number; another process imports and calls it
        report  told how it goes: before the first step, after it, every REPORT_SECONDS and at the end; in the first
                process only
        raises  ConfigError when a gradient is not finite; parameters and state are then those of the step before
        """
        report = report if report is not None and self._rank == 0 else _ignore
        started = saved = reported = time.monotonic()
        losses: dict[str, list[float]] = {}
        steps, first = 0, self.step
        report(self._progress({}, 0.0, 0.0))
        per_step = self._processes * self._accumulate
        numbers = (first * per_step + self._rank, self.schedule.steps * per_step, self._processes)
        self.objective.train()
        with closing(iter(Prefetch(make, *numbers))) as batches:
            while self.step < self.schedule.steps:
                found, norm = self._take_step([next(batches) for _ in range(self._accumulate)])
                for name, value in found.items():
                    losses.setdefault(name, []).append(value)
                steps, now, last = steps + 1, time.monotonic(), self.step == self.schedule.steps
                if last or self.step == first + 1 or now - reported > REPORT_SECONDS:
                    means = {name: sum(values) / len(values) for name, values in losses.items()}
                    report(self._progress(means, norm, steps / (now - reported)))
                    losses, steps, reported = {}, 0, now
                if self._rank == 0 and (last or now - saved > SAVE_SECONDS):
                    self.seconds += now - started
                    started = saved = now
                    self.save()
        if self._processes > 1:
            dist.barrier()  # whoever reads the state next finds it written

    def save(self) -> None:
        """Write the state, whole or not at all."""
        save_state(self.state, self.objective, self.optimizer, SavedProgress(self.step, self.seconds))

    def resume(self) -> None:
        """Go on from the saved state. Raises CheckpointError when it does not fit the objective."""
        progress = load_state(self.state, self.objective, self.optimizer)
        self.step, self.seconds = progress.step, progress.seconds

    def _take_step(self, batches: Sequence[B]) -> tuple[dict[str, float], float]:
        """One step over this process's micro batches: its mean losses by name, and the norm of the gradient."""
        counts = [self.objective.counts(batch) for batch in batches]
        own = {name: sum(count.get(name, 0) for count in counts) for name in self.objective.weights}
        whole = self._sum_counts(own)
        means: dict[str, float] = {}
        self.optimizer.zero_grad()
        for number, (batch, count) in enumerate(zip(batches, counts, strict=True)):
            losses = self._losses(batch, number)
            weights = {name: self.objective.weights[name] * (count[name] / whole[name]) for name in losses}
            torch.stack([weights[name] * loss for name, loss in losses.items()]).sum().backward()
            for name, loss in losses.items():
                means[name] = means.get(name, 0.0) + count[name] / own[name] * loss.item()
        if self._processes > 1:
            self._sum_gradients()
        norm = float(nn.utils.clip_grad_norm_(self._parameters, self._max_norm))
        if not norm < float("inf"):
            raise ConfigError(f"the gradient of step {self.step} is {norm}; lower the rate or look at its batches")
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.step) * group.get("rate", 1.0)
        self.optimizer.step()
        self.step += 1
        return means, norm

    def _losses(self, batch: B, number: int) -> dict[str, Tensor]:
        """The losses of micro batch `number` of this step, with random numbers of its own."""
        devices = [self._device] if self._device.type == "cuda" else []
        place = (self.step * self._accumulate + number) * self._processes + self._rank
        autocast = torch.autocast(self._device.type, self._autocast, enabled=self._autocast is not None)
        with torch.random.fork_rng(devices), autocast:
            # 32 bits, mixed from both: a generator on the CPU reads no more of its seed.
            torch.manual_seed(random.Random(f"{self._seed} {place}").getrandbits(32))
            return self.objective.losses(batch.to(self._device))

    def _sum_counts(self, own: dict[str, int]) -> dict[str, int]:
        """Counts over all processes: a loss is a mean over the whole step, not a mean of means."""
        if self._processes == 1:
            return own
        counts = torch.tensor(list(own.values()), device=self._device)
        dist.all_reduce(counts)
        return dict(zip(own, counts.tolist(), strict=True))

    def _sum_gradients(self) -> None:
        """Every process to the same gradients; what a batch did not reach counts as zero."""
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        for parameter, gradient in zip(
            self._parameters, flat.split([p.numel() for p in self._parameters]), strict=True
        ):
            parameter.grad = gradient.view_as(parameter)

    def _progress(self, losses: dict[str, float], norm: float, pace: float) -> Progress:
        rate = self.schedule.rate(max(0, self.step - 1))
        return Progress(self.step, self.schedule.steps, losses, rate, norm, pace)


def _ignore(_: Progress) -> None:
    """For callers who want no report."""
