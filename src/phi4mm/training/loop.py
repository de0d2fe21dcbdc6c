"""The training loop: micro batches, losses, gradients, optimizer steps, and a saved state to resume from.

Batch number n is made by a plain function of n. A step of `world_size` processes (torch.distributed, as under torchrun)
that accumulate A micro batches each takes the next `world_size` * A numbers. So a step trains on the same batches
however they are divided among processes.
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
from types import MappingProxyType
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
PREFETCHED = 4  # batches made before they are needed
MAX_SKIPPED = 3  # steps in a row without a finite gradient, before training stops
MAX_ROWS = 8  # named in an error

T = TypeVar("T")


class Batch(Protocol):
    """What a loss is computed from."""

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of its examples, for messages: a file and line, or a task and seed."""

    @property
    def tokens(self) -> int:
        """How many tokens of text and media it holds, for the throughput."""

    def to(self, device: torch.device, /) -> Any:
        """This batch on another device."""


B = TypeVar("B", bound=Batch)


class Objective(nn.Module, ABC, Generic[B]):
    """A module to train, and its loss: the sum of its named losses times their `weights`.

    observed  figures of the last losses that are reported beside them
    """

    weights: ClassVar[Mapping[str, float]]
    observed: Mapping[str, float] = MappingProxyType({})

    @abstractmethod
    def losses(self, batch: B) -> dict[str, Tensor]:
        """Scalar losses by name, each a mean over as many items as `counts` says; a batch may lack some."""

    @abstractmethod
    def counts(self, batch: B) -> dict[str, int]:
        """Over how many labels, clips or other items each loss of the batch is a mean; needs no forward pass."""


@dataclass(frozen=True)
class Progress:
    """The progress of a training.

    losses            mean since the last report, by name, over this process's batches; empty before the first step.
                      Other figures that the objective observes are among them
    rate              the learning rate of the last step, before the factors of parameter groups
    gradient_norm     of the last step, before clipping
    steps_per_second  since the last report
    tokens_per_second since the last report, of this process
    skipped           steps whose gradient was not finite, since the start of the run; they changed nothing
    """

    step: int
    steps: int
    losses: dict[str, float]
    rate: float
    gradient_norm: float
    steps_per_second: float
    tokens_per_second: float
    skipped: int

    @property
    def seconds_left(self) -> float:
        """Until the last step at the present speed; infinite before the first step."""
        return (self.steps - self.step) / self.steps_per_second if self.steps_per_second else float("inf")


class Prefetch(Generic[T]):
    """Batches made ahead of time in one other process: numbers `start`, `start + stride` and so on below `end`.

    make  a function of the batch number that the other process can import
    """

    def __init__(self, make: Callable[[int], T], start: int, end: int, stride: int = 1) -> None:
        self._make, self._numbers = make, iter(range(start, end, stride))

    def __iter__(self) -> Generator[T, None, None]:
        pending: deque[Future[T]] = deque()
        with worker_pool(1, partial(torch.set_num_threads, 1)) as pool:
            while True:
                while len(pending) < PREFETCHED and (number := next(self._numbers, None)) is not None:
                    pending.append(pool.submit(self._make, number))
                if not pending:
                    return
                yield pending.popleft().result()


class Trainer(Generic[B]):
    """Trains an objective with an optimizer. `state` is the file that keeps both and the progress.

    device      where to train; the objective is moved there in place
    accumulate  micro batches per step in each process: the gradient of one large batch, in the memory of a small one
    autocast    dtype of torch's autocast for the losses, such as bfloat16; None for the parameters' own dtype
    max_norm    the gradient is clipped to this norm
    seed        of dropout, which depends only on the seed and the batch number
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
        self.step, self.seconds, self.skipped = 0, 0.0, 0
        self._skipped_rows: list[str] = []  # of the last steps, all of which were skipped
        self._stopping = False

    def stop(self) -> None:
        """Let `run` save the state after the step that it is in, and return. A signal handler may call it."""
        self._stopping = True

    def run(
        self, make: Callable[[int], B], report: Callable[[Progress], None] | None = None, *, ahead: bool = True
    ) -> bool:
        """Take the remaining steps; save the state every SAVE_SECONDS and at the end. False when `stop` ended it early.

        A step whose gradient is not finite changes nothing and is counted in `skipped`.

        make    makes a batch from its number; another process imports and calls it
        ahead   false to call `make` here, one batch at a time: it needs the weights of that moment
        report  called before the first step, after it, every REPORT_SECONDS and at the end, in the first process only
        raises  ConfigError after MAX_SKIPPED steps in a row without a finite gradient, naming their rows; parameters
                and state are then those of the step before them
        """
        report = report if report is not None and self._rank == 0 else _ignore
        started = saved = reported = time.monotonic()
        losses: dict[str, list[float]] = {}
        steps, tokens, first = 0, 0, self.step
        report(self._progress({}, 0.0, 0.0, 0.0))
        per_step = self._processes * self._accumulate
        numbers = (first * per_step + self._rank, self.schedule.steps * per_step, self._processes)
        self.objective.train()
        source = iter(Prefetch(make, *numbers)) if ahead else (make(number) for number in range(*numbers))
        with closing(source) as prefetched:
            while self.step < self.schedule.steps and not self._agree_to_stop():
                batches = [next(prefetched) for _ in range(self._accumulate)]
                step_losses, norm = self._take_step(batches)
                for name, value in step_losses.items():
                    losses.setdefault(name, []).append(value)
                steps, tokens = steps + 1, tokens + sum(batch.tokens for batch in batches)
                now, last = time.monotonic(), self.step == self.schedule.steps
                if last or self.step == first + 1 or now - reported > REPORT_SECONDS:
                    means = {name: sum(values) / len(values) for name, values in losses.items()}
                    report(self._progress(means, norm, steps / (now - reported), tokens / (now - reported)))
                    losses, steps, tokens, reported = {}, 0, 0, now
                if self._rank == 0 and not last and now - saved > SAVE_SECONDS:
                    self.seconds += now - started
                    started = saved = now
                    self.save()
        if self._rank == 0 and self.step > first:
            self.seconds += time.monotonic() - started
            self.save()
        if self._processes > 1:
            dist.barrier()  # the first process has written the state when any process reads it
        return self.step == self.schedule.steps

    def save(self) -> None:
        """Write the state atomically."""
        save_state(self.state, self.objective, self.optimizer, SavedProgress(self.step, self.seconds))

    def resume(self) -> None:
        """Load the saved state. Raises CheckpointError when it does not fit the objective."""
        progress = load_state(self.state, self.objective, self.optimizer)
        self.step, self.seconds = progress.step, progress.seconds

    def _take_step(self, batches: Sequence[B]) -> tuple[dict[str, float], float]:
        """One step over this process's micro batches. Returns its mean losses by name, and the norm of the gradient."""
        counts = [self.objective.counts(batch) for batch in batches]
        own = {name: sum(count.get(name, 0) for count in counts) for name in self.objective.weights}
        total = self._sum_counts(own)
        means: dict[str, float] = {}
        self.optimizer.zero_grad()
        for number, (batch, count) in enumerate(zip(batches, counts, strict=True)):
            losses = self._losses(batch, number)
            weights = {name: self.objective.weights[name] * (count[name] / total[name]) for name in losses}
            torch.stack([weights[name] * loss for name, loss in losses.items()]).sum().backward()
            for name, loss in losses.items():
                means[name] = means.get(name, 0.0) + count[name] / own[name] * loss.item()
        means |= self.objective.observed
        if self._processes > 1:
            self._sum_gradients()
        norm = float(nn.utils.clip_grad_norm_(self._parameters, self._max_norm))
        if norm < float("inf"):
            for group in self.optimizer.param_groups:
                group["lr"] = self.schedule.rate(self.step) * group.get("rate", 1.0)
            self.optimizer.step()
            self._skipped_rows = []
        else:
            self._skip([row for batch in batches for row in batch.rows], norm)
        self.step += 1
        return means, norm

    def _skip(self, rows: Sequence[str], norm: float) -> None:
        """Count a step that changes nothing. Raises ConfigError for the last of MAX_SKIPPED in a row."""
        self.skipped += 1
        self._skipped_rows += [f"step {self.step}: {', '.join(rows[:MAX_ROWS])}"]
        if len(self._skipped_rows) >= MAX_SKIPPED:
            raise ConfigError(
                f"the gradient norm was not finite in {MAX_SKIPPED} steps in a row (now {norm}); lower the learning "
                f"rate or check these rows: {'; '.join(self._skipped_rows)}"
            )

    def _agree_to_stop(self) -> bool:
        """Whether any process was told to stop: all leave after the same step, or the others would wait for ever."""
        if self._processes == 1:
            return self._stopping
        stopping = torch.tensor(int(self._stopping), device=self._device)
        dist.all_reduce(stopping, dist.ReduceOp.MAX)
        return bool(stopping)

    def _losses(self, batch: B, number: int) -> dict[str, Tensor]:
        """The losses of micro batch `number` of this step, with a random state of its own."""
        devices = [self._device] if self._device.type == "cuda" else []
        batch_number = (self.step * self._accumulate + number) * self._processes + self._rank
        autocast = torch.autocast(self._device.type, self._autocast, enabled=self._autocast is not None)
        with torch.random.fork_rng(devices), autocast:
            # A hash of both in 32 bits: torch's CPU generator reads no more bits of its seed.
            torch.manual_seed(random.Random(f"{self._seed} {batch_number}").getrandbits(32))
            return self.objective.losses(batch.to(self._device))

    def _sum_counts(self, own: dict[str, int]) -> dict[str, int]:
        """Counts summed over all processes: a loss is a mean over the whole step, not a mean of means."""
        if self._processes == 1:
            return own
        counts = torch.tensor(list(own.values()), device=self._device)
        dist.all_reduce(counts)
        return dict(zip(own, counts.tolist(), strict=True))

    def _sum_gradients(self) -> None:
        """Sum the gradients over all processes; a parameter without a gradient counts as zero."""
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        for parameter, gradient in zip(
            self._parameters, flat.split([p.numel() for p in self._parameters]), strict=True
        ):
            parameter.grad = gradient.view_as(parameter)

    def _progress(self, losses: dict[str, float], norm: float, steps: float, tokens: float) -> Progress:
        rate = self.schedule.rate(max(0, self.step - 1))
        return Progress(self.step, self.schedule.steps, losses, rate, norm, steps, tokens, self.skipped)


def _ignore(_: Progress) -> None:
    """The report function of callers that want none."""
