"""Runs nano's training stages, each from the weights of those before it."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist

from phi4mm.kernels.precision import has_native_bf16
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.nano.alignment import (
    add_stage_adapter,
    policy_batches,
    policy_objective,
    preference_objective,
    score_objective,
    trained_scorer,
)
from phi4mm.nano.batches import NAMES, make_answers, make_batch, make_preferences, open_batch_maker
from phi4mm.nano.initialization import initialize, measure_mels
from phi4mm.nano.pretraining import ShownTraining, TranscriptTraining
from phi4mm.nano.recipe import NanoRecipe, RunFolder, Stage, nano_config
from phi4mm.nano.speech_bank import build_bank, is_built
from phi4mm.nano.synth import world
from phi4mm.nano.tokenizer import train_tokenizer
from phi4mm.training.checkpointing import checkpoint_layers
from phi4mm.training.grpo import GroupPolicy
from phi4mm.training.loop import Objective, Progress, Trainer
from phi4mm.training.muon import Muon
from phi4mm.training.optimizers import ParameterGroup, make_adamw, select_trainable
from phi4mm.training.preference import RewardTraining
from phi4mm.training.sft import AnswerTraining
from phi4mm.training.state import load_trained
from phi4mm.training.workers import worker_pool

BETAS = (0.9, 0.98)
TOKENIZER_EXAMPLES = 1500  # per task


def new_model(recipe: NanoRecipe, folder: RunFolder) -> Phi4MM:
    """nano with its starting weights, which depend only on the recipe's seed and data, so each stage gets the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = Phi4MM(nano_config(open_batch_maker(folder.path).processor.tokenizer))
    initialize(model, recipe.seed)
    return model


def load_stage(recipe: NanoRecipe, stage: Stage, folder: RunFolder, model: Phi4MM) -> None:
    """Load what a stage trained, in place; an adapter that was made for the stage is added to the base weights.

    A reward model is no part of nano: its stage changes nothing here.

    raises  CheckpointError when the state does not fit
    """
    if stage.goal == "scores":
        return
    made = stage.alignment is not None and add_stage_adapter(model, stage.alignment, recipe.seed)
    load_trained(folder.state(stage.name), model, "model")
    if made and stage.alignment is not None:
        model.merge_adapter(stage.alignment.adapter)


def new_objective(recipe: NanoRecipe, stage: Stage, folder: RunFolder) -> Objective[Any]:
    """The objective of a stage, with the weights it begins with and only its own parameters trainable."""
    model = new_model(recipe, folder)
    for earlier in stage.begin:
        load_stage(recipe, recipe.stage(earlier), folder, model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        objective = _objective(recipe, stage, folder, model)
    select_trainable(objective, prefixes=stage.training.train, adapters=stage.training.adapters)
    if stage.training.checkpointing:
        checkpoint_layers(model)
    return objective


def _objective(recipe: NanoRecipe, stage: Stage, folder: RunFolder, model: Phi4MM) -> Objective[Any]:
    if stage.goal == "transcripts":
        assert model.audio is not None, "nano has both encoders"
        first = (make_batch(folder.path, stage, recipe.seed, number).training.clips for number in itertools.count())
        measure_mels(model.audio.encoder, (clips for clips in first if clips is not None))
        return TranscriptTraining(model)
    if stage.goal == "shown":
        return ShownTraining(model, len(NAMES))
    if stage.alignment is None:
        return AnswerTraining(model)
    make: Any = {"preferences": preference_objective, "scores": score_objective, "rewards": policy_objective}
    objective: Objective[Any] = make[stage.goal](model, stage.alignment, recipe.seed)
    return objective


def prepare(
    recipe: NanoRecipe, stages: Sequence[Stage], folder: RunFolder, processes: int, report: Callable[[str], None]
) -> None:
    """Make what is missing of the tokenizer and, where a task of the stages has sound, of the speech bank.

    report  called with a line on the progress
    raises  ConfigError when what a task is made of, such as its fonts, is not installed
    """
    # The first example of each task: what it is made of must be there before hours of work.
    sounding = {task for task in recipe.tasks if world.has_sound(task)}
    folder.path.mkdir(parents=True, exist_ok=True)
    if not folder.tokenizer.exists():
        report(f"tokenizer: training it on {TOKENIZER_EXAMPLES} examples per task")
        unfinished = folder.tokenizer.with_suffix(".part")
        with worker_pool(1) as pool:  # the tokenizers library ignores Ctrl-C while it trains
            text = pool.submit(train_tokenizer, recipe.tasks, TOKENIZER_EXAMPLES, recipe.vocabulary).result()
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, folder.tokenizer)
    settings = (recipe.utterances, recipe.passages, recipe.seed)
    needed = any(task in sounding for stage in stages for task in stage.tasks)
    if any(settings[:2]) and needed and not is_built(folder.speech, *settings):
        build_bank(folder.speech, *settings, processes, report)


def new_trainer(recipe: NanoRecipe, stage: Stage, folder: RunFolder) -> Trainer[Any]:
    """The trainer of a stage, which goes on from the stage's saved state if there is one.

    On CPUs with bfloat16 products, these run in bfloat16, and everything else in float32. GRPO is all in float32: the
    engine draws answers in it, and both must compute the same probabilities.
    """
    objective, training = new_objective(recipe, stage, folder), stage.training
    decay = training.weight_decay
    optimizer: torch.optim.Optimizer = (
        Muon(objective, weight_decay=decay, betas=BETAS)
        if training.optimizer == "muon"
        else make_adamw(objective, (ParameterGroup(weight_decay=decay),), betas=BETAS)
    )
    processes = dist.get_world_size() if dist.is_initialized() else 1
    trainer = Trainer(
        objective,
        optimizer,
        training.schedule,
        folder.state(stage.name),
        accumulate=training.accumulated_by(processes),
        autocast=torch.bfloat16 if has_native_bf16() and stage.goal != "rewards" else None,
        seed=recipe.seed,
    )
    if trainer.state.exists():
        trainer.resume()
    return trainer


def train_stage(
    trainer: Trainer[Any], recipe: NanoRecipe, stage: Stage, folder: RunFolder,
    report: Callable[[Progress], None] | None = None,
) -> bool:  # fmt: skip
    """Run a stage to its end; False when it was told to stop. `report` is as in Trainer.run."""
    if stage.goal == "rewards":
        assert isinstance(trainer.objective, GroupPolicy)
        model, maker = trainer.objective.model, open_batch_maker(folder.path)
        batches = policy_batches(model, maker, stage, recipe.seed, _scorer(recipe, stage, folder, model))
        return trainer.run(batches, report, ahead=False)
    makers: Any = {"answers": make_answers, "preferences": make_preferences, "scores": make_preferences}
    make = makers.get(stage.goal, make_batch)
    return trainer.run(functools.partial(make, folder.path, stage, recipe.seed), report)


def _scorer(recipe: NanoRecipe, stage: Stage, folder: RunFolder, model: Phi4MM) -> RewardTraining | None:
    """The reward model that scores a stage's answers, if the recipe names one."""
    if stage.alignment is None or not stage.alignment.scored_by:
        return None
    scoring = recipe.stage(stage.alignment.scored_by)
    assert scoring.alignment is not None, "the recipe's reader gives every stage of this goal its alignment"
    return trained_scorer(model, scoring.alignment, folder.state(scoring.name))
