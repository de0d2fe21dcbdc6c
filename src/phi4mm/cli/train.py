"""`phi4mm train nano CONFIG.toml`: train nano, the model that is included, from scratch."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tomllib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi4mm.config.fields import Fields
from phi4mm.config.json_file import regular_file_bytes
from phi4mm.config.validate import nearest
from phi4mm.errors import ConfigError
from phi4mm.machine import usable_cores

if TYPE_CHECKING:
    from phi4mm.nano.recipe import NanoRecipe, Stage, StagePlan
    from phi4mm.training.loop import Progress

STAGES: tuple[Stage, ...] = ("audio", "vision", "joint")
RENAMED: dict[str, Stage] = {"hear": "audio", "look": "vision", "join": "joint"}  # names before version 0.2
MAX_RECIPE_BYTES = 2**20
MIN_VOCABULARY = 300  # 256 bytes, the special tokens, and some merged pairs


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `train`."""
    parser.add_argument("what", choices=("nano",), help="the model to train")
    parser.add_argument("config", metavar="CONFIG.toml", type=Path, help="the recipe, such as bench/nano.toml")
    parser.add_argument(
        "--stage",
        action="append",
        metavar="STAGE",
        help=f"run only this stage: {', '.join(STAGES)}; repeatable",
    )
    parser.add_argument("--resume", action="store_true", help="continue each stage from its saved state, if it has one")
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
        _train(args, first)
    except KeyboardInterrupt:
        if first:
            _show("phi4mm train: stopped; the same command with --resume goes on from the last saved state")
        raise
    return 0


def _train(args: argparse.Namespace, first: bool) -> None:
    if first:
        _show(f"recipe {args.config}")
    # Set before torch is loaded: idle OpenMP threads then sleep instead of using the core that the data worker needs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch
    import torch.distributed as dist

    from phi4mm.nano.export import export
    from phi4mm.nano.recipe import check_stages
    from phi4mm.nano.stages import prepare, train_stage

    recipe = read_recipe(args.config)
    stages: Sequence[Stage] = [_stage(name) for name in args.stage or STAGES]
    check_stages(recipe, stages, args.out)
    if args.threads:
        torch.set_num_threads(args.threads)
    signal.signal(signal.SIGTERM, _interrupt)
    if first:
        prepare(recipe, usable_cores(), _show)
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo")
        dist.barrier()
    for stage in stages:
        train_stage(recipe, stage, resume=args.resume, report=partial(_show_step, stage))
    if args.out and first:
        export(recipe, args.out, command=" ".join(["phi4mm", *sys.argv[1:]]))
        print(args.out)
    if dist.is_initialized():
        dist.destroy_process_group()


def read_recipe(path: Path) -> NanoRecipe:
    """Read a recipe from a TOML file, whose `folder` is relative to the file.

    raises  ConfigError for missing, unknown or impossible values
    """
    from phi4mm.nano.recipe import SPOKEN_TASKS, NanoRecipe

    raw = _read_toml(path)
    for old, new in RENAMED.items():
        if old in raw:
            raise ConfigError(f"{path.name}: the stage [{old}] is called [{new}] now; rename the section")
    top = Fields(raw, path.name)
    utterances = top.section("utterances")
    recipe = NanoRecipe(
        folder=path.parent / os.path.expanduser(top.text("folder")),
        seed=top.integer("seed", low=0),
        vocabulary=top.integer("vocabulary", low=MIN_VOCABULARY),
        utterances={task: utterances.integer(task, low=0) for task in SPOKEN_TASKS},
        audio=_plan(top.section("audio")),
        vision=_plan(top.section("vision")),
        joint=_plan(top.section("joint")),
    )
    top.finish(ignored=frozenset())
    return recipe


def _stage(name: str) -> Stage:
    """A stage by its name. Raises ConfigError, which names the new name of a renamed stage, or the nearest one."""
    for stage in STAGES:
        if name == stage:
            return stage
    hint = f"it is called {RENAMED[name]} now" if name in RENAMED else nearest(name, STAGES)
    raise ConfigError(f"no stage is called {name!r:.40}; {hint}")


def _show(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _show_step(stage: Stage, progress: Progress) -> None:
    losses = "".join(f" {name} {value:.4f}" for name, value in progress.losses.items())
    throughput = f" {progress.steps_per_second:.2f} steps/s" if progress.losses else ""
    _show(f"stage {stage} step {progress.step}/{progress.steps}{losses}{throughput}")


def _plan(fields: Fields) -> StagePlan:
    from phi4mm.nano.recipe import StagePlan

    decay = fields.integer("decay") if "decay" in fields else 0
    return StagePlan(fields.integer("steps"), fields.integer("batch"), fields.number("rate"), decay)


def _read_toml(path: Path) -> dict[str, Any]:
    if (size := regular_file_bytes(path, "a recipe", ConfigError)) > MAX_RECIPE_BYTES:
        raise ConfigError(f"{path} has {size} bytes; expected a recipe of at most {MAX_RECIPE_BYTES}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as TOML: {error}") from None


def _interrupt(_signal: int, _frame: object) -> None:
    """Handle SIGTERM like Ctrl-C, so that the data worker ends too."""
    raise KeyboardInterrupt
