"""`phi4mm train nano`: train nano, the model that is included, from nothing."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from phi4mm.machine import usable_cores

if TYPE_CHECKING:
    from phi4mm.training.loop import Progress
    from phi4mm.training.record import TrainingRecord

LINE_SECONDS = 60.0  # between two lines of progress where no terminal shows a bar
BAR = 24  # characters


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `train`."""
    parser.add_argument("what", choices=("nano",), help="the model to train")
    parser.add_argument("recipe", metavar="RECIPE.toml", type=Path, nargs="?", help="another recipe than nano's own")
    parser.add_argument(
        "--folder", type=Path, metavar="FOLDER", help="keeps the run's files; the same command goes on (runs/nano)"
    )
    parser.add_argument("--stage", action="append", metavar="STAGE", help="run only this stage; repeatable")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads (default: torch's choice)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write the trained model to this new folder")


def run(args: argparse.Namespace) -> int:
    """Run the stages, then write the model where `--out` says; progress goes to stderr.

    Under torchrun each process runs a share of each stage; only the first prepares the data and writes the model.
    """
    if args.threads < 0:
        raise argparse.ArgumentError(None, f"--threads is {args.threads}; expected a number of threads from 1")
    first = os.environ.get("RANK", "0") == "0"
    try:
        return _train(args, first)
    except KeyboardInterrupt:
        if first:
            _show("phi4mm train: stopped; the same command goes on from the last saved state")
        raise


def _train(args: argparse.Namespace, first: bool) -> int:
    if first:
        _show("train nano: reading the recipe")
    # Set before torch is loaded: idle OpenMP threads then sleep instead of using the core that the data worker needs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch
    import torch.distributed as dist

    from phi4mm.nano.export import export
    from phi4mm.nano.recipe import RECIPE, RunFolder, check_run, default_folder, read_recipe
    from phi4mm.nano.stages import new_trainer, prepare, train_stage
    from phi4mm.training.record import TrainingRecord

    recipe = read_recipe(args.recipe or RECIPE)
    folder = default_folder() if args.folder is None else RunFolder(args.folder.expanduser())
    stages = [recipe.stage(name) for name in args.stage] if args.stage else recipe.stages
    check_run(recipe, folder, stages, args.out)
    if args.threads:
        torch.set_num_threads(args.threads)
    if first:
        prepare(recipe, stages, folder, usable_cores(), _show)
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo")
        dist.barrier()
    for stage in stages:
        trainer = new_trainer(recipe, stage, folder)
        signal.signal(signal.SIGTERM, lambda *_, trainer=trainer: trainer.stop())
        if first:
            _show_parameters(stage.name, trainer.objective)
        show, record = _Progress(stage.name), TrainingRecord(folder.path, stage.name) if first else None
        if not train_stage(trainer, recipe, stage, folder, partial(_report, show, record)):
            _show(f"stage {stage.name}: saved at step {trainer.step} and stopped; the same command goes on from there")
            return 1
    if args.out and first:
        export(recipe, folder, args.out, command=" ".join(["phi4mm", *sys.argv[1:]]))
        print(args.out)
    if dist.is_initialized():
        dist.destroy_process_group()
    return 0


def _report(show: _Progress, record: TrainingRecord | None, progress: Progress) -> None:
    show(progress)
    if record is not None:
        record(progress)


class _Progress:
    """Shows the progress of a stage: a bar on a terminal, else a line a minute, and always the first and last step."""

    def __init__(self, stage: str) -> None:
        self._stage, self._shown = stage, 0.0

    def __call__(self, progress: Progress) -> None:
        bar, now = sys.stderr.isatty(), time.monotonic()
        if not bar and 1 < progress.step < progress.steps and now - self._shown < LINE_SECONDS:
            return
        self._shown = now
        line = self._line(progress)
        if not bar:
            _show(line)
            return
        full = BAR * progress.step // progress.steps
        ends = "\n" if progress.step == progress.steps else ""
        print(f"\r[{'#' * full}{'.' * (BAR - full)}] {line}\x1b[K", end=ends, file=sys.stderr, flush=True)

    def _line(self, progress: Progress) -> str:
        parts = [f"{self._stage} {progress.step}/{progress.steps}"]
        parts += [f"{name} {value:.4f}" for name, value in progress.losses.items()]
        if progress.losses:
            parts.append(f"{progress.tokens_per_second:.0f} tokens/s")
            parts.append(f"{_duration(progress.seconds_left)} left")
        if progress.skipped:
            parts.append(f"{progress.skipped} steps skipped: gradient not finite")
        return "  ".join(parts)


def _show_parameters(stage: str, objective: object) -> None:
    """What learns and what is frozen, with counts."""
    from torch import nn

    assert isinstance(objective, nn.Module)
    groups: dict[str, list[int]] = {}
    for name, parameter in objective.named_parameters():
        counts = groups.setdefault(_part(name), [0, 0])
        counts[0 if parameter.requires_grad else 1] += parameter.numel()
    for part, (learns, frozen) in sorted(groups.items()):
        state = f"{learns:,} learn" + (f", {frozen:,} frozen" if frozen else "") if learns else f"{frozen:,} frozen"
        _show(f"stage {stage}: {part}: {state}")


def _part(name: str) -> str:
    """The part of the model that a parameter belongs to: `text`, `text lora speech`, `image tower`, ..."""
    words = name.removeprefix("model.").split(".")
    if "lora_a" in words or "lora_b" in words:
        return f"{words[0]} LoRA {words[-1]}"
    return words[0] if words[0] in ("text", "head") else " ".join(words[:2])


def _duration(seconds: float) -> str:
    """1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def _show(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
