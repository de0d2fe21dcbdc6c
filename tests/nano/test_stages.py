"""A few steps of each stage, from random weights to an exported model that answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import phi4mm
from phi4mm.nano.export import export
from phi4mm.nano.recipe import STAGES, NanoRecipe, Stage
from phi4mm.nano.stages import new_stages, train_stage
from phi4mm.processing.tokenizer import Special
from phi4mm.training.loop import Progress
from phi4mm.training.state import load_module
from tests.nano.conftest import in_process


@pytest.fixture(scope="module")
def trained(recipe: NanoRecipe) -> NanoRecipe:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("phi4mm.training.loop.Prefetch", in_process)
        for stage in STAGES:
            train_stage(recipe, stage, resume=False)
    return recipe


def test_every_stage_starts_from_the_same_weights(recipe: NanoRecipe) -> None:
    """Prevents encoders from being loaded into a model with other starting weights."""
    first, again = new_stages(recipe).joint.state_dict(), new_stages(recipe).joint.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize(("stage", "part"), [("audio", "audio.encoder."), ("vision", "image.tower.")])
def test_a_stage_alone_changes_its_encoder_and_the_joint_stage_starts_from_it(
    trained: NanoRecipe, stage: Stage, part: str
) -> None:
    """Prevents an encoder whose trained weights the joint stage does not load."""
    stages = new_stages(trained)
    before = {name: value.clone() for name, value in stages.joint.model.state_dict().items()}
    load_module(trained.state(stage), stages.audio if stage == "audio" else stages.vision)
    after = stages.joint.model.state_dict()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith(part) for name in changed)
    assert any("weight" in name for name in changed)


def test_the_joint_stage_trains_every_weight_that_inference_reads(trained: NanoRecipe) -> None:
    """Prevents a projection or adapter that no task trains and that is exported with random weights."""
    joint = new_stages(trained).joint
    before = {name: value.clone() for name, value in joint.model.state_dict().items()}
    load_module(trained.state("joint"), joint)
    after = joint.model.state_dict()
    same = {name for name in after if torch.equal(before[name], after[name])}
    last_layer = f"image.tower.layers.{joint.model.config.vision.num_layers - 1}."
    unread = (
        last_layer,
        "image.tower.head.",
        "image.tower.post_layernorm.",
        "audio.encoder.mean",
        "audio.encoder.invstd",
    )
    assert {name for name in same if not name.startswith(unread)} <= {"audio.encoder.relative_bias.weight"}


def test_an_exported_folder_loads_and_records_its_training(trained: NanoRecipe, tmp_path: Path) -> None:
    """Prevents a checkpoint that phi4mm cannot load, or one without a record of its training."""
    export(trained, tmp_path / "nano", command="phi4mm train nano recipe.toml")
    model = phi4mm.load(tmp_path / "nano", dtype="bfloat16")
    reply = model.chat("Hello.", params=phi4mm.SamplingParams(max_tokens=3))
    assert reply.usage.completion_tokens <= 3
    record = json.loads((tmp_path / "nano" / "training.json").read_text(encoding="utf-8"))
    assert record["command"] == "phi4mm train nano recipe.toml"
    assert record["stages"]["joint"]["steps_taken"] == trained.joint.steps
    assert {"commit", "seed", "data", "hardware", "versions", "limits"} <= set(record)
    ends = json.loads((tmp_path / "nano" / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"]
    tokenizer = model.processor.tokenizer
    assert ends == [tokenizer.id(Special.END), tokenizer.id(Special.ENDOFTEXT)]


def test_resuming_a_finished_stage_takes_no_further_step(trained: NanoRecipe) -> None:
    """Prevents a second call from training beyond the schedule."""
    state = trained.state("vision")
    before, reports = state.read_bytes(), list[Progress]()
    train_stage(trained, "vision", resume=True, report=reports.append)
    assert state.read_bytes() == before and [progress.step for progress in reports] == [2]
    longer = replace(trained, vision=replace(trained.vision, steps=trained.vision.steps + 1))
    train_stage(longer, "vision", resume=True, report=reports.append)
    assert state.read_bytes() != before and reports[-1].step == 3
    assert set(reports[-1].losses) == {"multilabel"}
