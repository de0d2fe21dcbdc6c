"""How fast does each stage of nano's recipe train, beside what the machine's products could do?

    python bench/training_speed.py RUN [--stage STAGE]

RUN is the folder of a `phi4mm train nano` with its tokenizer and speech; weights are random, since speed does not
depend on them. Batches are made beforehand, as another process makes them in training. The operations of a step are
those of its matrix products and convolutions, forward and backward, counted by torch. The ceiling is the rate of
float32 products of 1024 x 1024 matrices on the same threads, measured before each stage.

One line a stage on stderr, one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from measure import provenance
from torch.utils.flop_counter import FlopCounterMode

from phi4mm.kernels.precision import has_native_bf16
from phi4mm.nano.batches import open_batch_maker
from phi4mm.nano.recipe import NanoRecipe, RunFolder, Stage, read_recipe
from phi4mm.nano.stages import new_objective
from phi4mm.training.loop import Objective, Trainer
from phi4mm.training.optimizers import ParameterGroup, Schedule, make_adamw

WARM = 2  # steps before the measured ones
SIDE = 1024


def main() -> None:
    """Measure the stages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--stage", action="append", default=[])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    recipe, stages = read_recipe(), {}
    for stage in recipe.stages:
        if stage.goal != "rewards" and (not args.stage or stage.name in args.stage):
            ceiling = product_rate()
            stages[stage.name] = measured(recipe, stage, RunFolder(args.run), args.steps, ceiling)
            print(stage.name, stages[stage.name], file=sys.stderr, flush=True)
    print(json.dumps({"stages": stages, **provenance()}))


def measured(recipe: NanoRecipe, stage: Stage, folder: RunFolder, steps: int, ceiling: float) -> dict[str, Any]:
    """Figures of one stage."""
    alone = replace(stage, begin=())
    objective = new_objective(recipe, alone, folder)
    count = alone.training.accumulate * (WARM + steps)
    maker = open_batch_maker(folder.path)
    start = time.perf_counter()
    make = {"preferences": maker.preferences, "scores": maker.preferences}.get(stage.goal)
    batches: list[Any] = [
        make(alone, recipe.seed, number) if make else _batch(maker, alone, recipe.seed, number)
        for number in range(count)
    ]
    making = (time.perf_counter() - start) / (WARM + steps)
    autocast = torch.bfloat16 if has_native_bf16() else None
    operations = sum(_operations(objective, batch, autocast) for batch in batches[: alone.training.accumulate])
    tokens = sum(batch.tokens for batch in batches[: alone.training.accumulate])
    with tempfile.TemporaryDirectory() as scratch:
        optimizer = make_adamw(objective, (ParameterGroup(),))
        for part, number in ((WARM, 0), (steps, WARM)):
            trainer = Trainer(
                objective, optimizer, Schedule(part, 1e-5), Path(scratch, "state"),
                accumulate=alone.training.accumulate, autocast=autocast,
            )  # fmt: skip
            first = number * alone.training.accumulate
            begun = time.perf_counter()
            trainer.run(lambda n, first=first: batches[first + n], ahead=False)
            spent = time.perf_counter() - begun
    measured_tokens = sum(batch.tokens for batch in batches[WARM * alone.training.accumulate :])
    rate = operations / tokens * measured_tokens / spent
    return {
        "tokens_per_second": round(measured_tokens / spent),
        "gflop_per_second": round(rate / 1e9, 1),
        "of_ceiling": round(rate / ceiling, 3),
        "ceiling_gflop_per_second": round(ceiling / 1e9, 1),
        "seconds_a_step": round(spent / steps, 3),
        "seconds_to_make_its_batches": round(making, 3),
    }


def _batch(maker: Any, stage: Stage, seed: int, number: int) -> Any:
    made = maker.batch(stage, seed, number)
    return made.training if stage.goal == "answers" else made


def _operations(objective: Objective[Any], batch: Any, autocast: torch.dtype | None) -> int:
    """Floating-point operations of one micro batch, forward and backward."""
    with FlopCounterMode(display=False) as counter, torch.autocast("cpu", autocast, enabled=autocast is not None):
        sum(objective.losses(batch).values(), torch.zeros(())).backward()
    objective.zero_grad()
    return counter.get_total_flops()


def product_rate() -> float:
    """Floating-point operations a second of float32 products, the best of several."""
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    times = []
    for _ in range(8):
        start = time.perf_counter()
        torch.mm(a, b)
        times.append(time.perf_counter() - start)
    return 2 * SIDE**3 / min(times)


if __name__ == "__main__":
    main()
