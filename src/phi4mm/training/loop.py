"""The supervised loop: AdamW, a schedule, clipped gradients, and state that a later run goes on from.

Where torch.distributed is initialised, as under torchrun, every process makes batches of its own and gradients are
averaged: small matrices gain more from two processes than from two threads.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from phi4mm.errors import CheckpointError

B = TypeVar("B")
MAX_NORM = 1.0
REPORT_EVERY = 50  # steps
SAVE_EVERY = 120.0  # seconds
AHEAD = 4  # batches made before they are needed


@dataclass(frozen=True)
class Schedule:
    """The learning rate: up to `peak` in `warm_up` steps, then along a cosine to a twentieth of it.

    steps  to take
    decay  the step at which the cosine ends, by default the last
    """

    steps: int
    peak: float
    warm_up: int = 200
    decay: int = 0
    weight_decay: float = 0.01

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        if step < self.warm_up:
            return self.peak * (step + 1) / self.warm_up
        done = (step - self.warm_up) / max(1, (self.decay or self.steps) - self.warm_up)
        return self.peak * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


class Prefetch(Generic[B]):
    """Batches made in one other process, a few ahead: numbers `start`, `start + stride` and so on below `end`.

    make  a plain function of the batch's number, which the other process can import
    """

    def __init__(self, make: Callable[[int], B], start: int, end: int, stride: int = 1) -> None:
        self._make, self._next, self._end, self._stride = make, start, end, stride
        # Spawned, not forked: a fork of a process whose threads compute can hang at its first tensor.
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (1,))
        self._waiting: deque[Future[B]] = deque()

    def __iter__(self) -> Iterator[B]:
        try:
            while True:
                while self._next < self._end and len(self._waiting) < AHEAD:
                    self._waiting.append(self._pool.submit(self._make, self._next))
                    self._next += self._stride
                if not self._waiting:
                    return
                yield self._waiting.popleft().result()
        finally:
            self._pool.shutdown(cancel_futures=True)


class Trainer:
    """A module, its optimizer and how far they are. `state` is the file that keeps all three."""

    def __init__(self, module: nn.Module, schedule: Schedule, state: Path) -> None:
        self.module, self.schedule, self.state = module, schedule, state
        self.optimizer = torch.optim.AdamW(
            module.parameters(), lr=schedule.peak, betas=(0.9, 0.98), weight_decay=schedule.weight_decay, fused=True
        )
        self.step, self.seconds = 0, 0.0

    def run(
        self, make: Callable[[int], B], losses: Callable[[B], dict[str, Tensor]], weights: dict[str, float]
    ) -> None:
        """Take the steps that are left; `losses` names the scalars whose sum, weighted by `weights`, is minimised."""
        started = saved = reported = time.monotonic()
        sums: dict[str, float] = {}
        rank, processes = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        start, end = self.step * processes + rank, self.schedule.steps * processes
        for batch in Prefetch(make, start, end, processes):
            for name, value in self._take_step(losses(batch), weights).items():
                sums[name] = sums.get(name, 0.0) + value / REPORT_EVERY
            now = time.monotonic()
            if rank > 0:
                continue
            if self.step % REPORT_EVERY == 0:
                shown = " ".join(f"{name} {value:.4f}" for name, value in sums.items())
                pace = REPORT_EVERY / (now - reported)
                print(f"step {self.step}/{self.schedule.steps} {shown} {pace:.2f} steps/s", file=sys.stderr, flush=True)
                sums, reported = {}, now
            if now - saved > SAVE_EVERY or self.step == self.schedule.steps:
                self.seconds += now - started
                started = saved = now
                self.save()

    def _take_step(self, losses: dict[str, Tensor], weights: dict[str, float]) -> dict[str, float]:
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        self.optimizer.zero_grad()
        total.backward()
        if dist.is_initialized():
            self._average_gradients()
        nn.utils.clip_grad_norm_(self.module.parameters(), MAX_NORM)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.step)
        self.optimizer.step()
        self.step += 1
        return {name: loss.item() for name, loss in losses.items()}

    def _average_gradients(self) -> None:
        """Every process to the same gradients; what a batch did not reach counts as zero."""
        parameters = list(self.module.parameters())
        flat = torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in parameters])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for parameter, gradient in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            parameter.grad = gradient.view_as(parameter)

    def save(self) -> None:
        """Write parameters, optimizer and progress into one file, whole or not at all."""
        tensors = {f"module.{name}": value for name, value in self.module.state_dict().items()}
        for number, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in values.items()}
        progress = {"progress": json.dumps({"step": self.step, "seconds": self.seconds})}
        part = self.state.with_suffix(".part")
        save_file({name: value.detach().clone().contiguous() for name, value in tensors.items()}, part, progress)
        os.replace(part, self.state)

    def resume(self) -> None:
        """Go on from the saved state. Raises CheckpointError when it does not fit the module."""
        with safe_open(self.state, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            progress = json.loads(file.metadata()["progress"])
        own = {name.removeprefix("module."): value for name, value in tensors.items() if name.startswith("module.")}
        try:
            self.module.load_state_dict(own)
        except RuntimeError as error:
            raise CheckpointError(f"{self.state} does not fit this model: {error}") from None
        moments: dict[int, dict[str, Any]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, number, kind = name.split(".")
                moments.setdefault(int(number), {})[kind] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.step, self.seconds = progress["step"], progress["seconds"]
