"""A few steps of each stage, from random weights to an exported model that answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import phi4mm
from phi4mm.nano.export import export
from phi4mm.nano.recipe import NanoRecipe, RunFolder
from phi4mm.nano.stages import new_model, new_objective, new_trainer, train_stage
from phi4mm.processing.tokenizer import Special
from phi4mm.training.loop import Progress
from tests.nano.conftest import in_process, pillow_font


@pytest.fixture(scope="module")
def trained(recipe: NanoRecipe, folder: RunFolder) -> RunFolder:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("phi4mm.training.loop.Prefetch", in_process)
        patch.setattr("phi4mm.nano.synth.fonts.load", pillow_font)
        for stage in recipe.stages:
            train_stage(new_trainer(recipe, stage, folder), recipe, stage, folder)
    return folder


def test_every_stage_starts_from_the_same_weights(recipe: NanoRecipe, folder: RunFolder) -> None:
    """Prevents encoders from being loaded into a model with other starting weights."""
    first, again = new_model(recipe, folder).state_dict(), new_model(recipe, folder).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def saved(folder: RunFolder, stage: str) -> dict[str, Tensor]:
    return {
        name.removeprefix("module."): value
        for name, value in load_file(folder.state(stage)).items()
        if name.startswith("module.")
    }


@pytest.mark.parametrize(
    ("stage", "parts"),
    [
        ("text", ("model.text.",)),
        ("hearing", ("model.audio.encoder.", "head.")),
        ("seeing", ("model.image.tower.", "words.", "letters.")),
        ("all", ("model.image.", "model.audio.", "model.text.layers.")),
    ],
)
def test_a_stage_saves_what_it_trained_and_nothing_else(trained: RunFolder, stage: str, parts: tuple[str, ...]) -> None:
    """Prevents frozen weights that learn, and states that bring back old weights of another stage."""
    names = saved(trained, stage)
    assert all(name.startswith(parts) for name in names)
    assert all(any(name.startswith(part) for name in names) for part in parts)
    assert (".lora_" in "".join(names)) == (stage == "all")
    assert ("model.audio.encoder.mean" in names) == (stage in ("hearing", "all"))


def test_a_stage_begins_with_the_weights_of_the_stages_that_its_recipe_names(
    recipe: NanoRecipe, trained: RunFolder
) -> None:
    """Prevents hours of training on random encoders."""
    begun = new_objective(recipe, recipe.stage("all"), trained).state_dict()
    fresh = new_model(recipe, trained).state_dict()
    for stage in ("text", "hearing", "seeing"):
        for name, value in saved(trained, stage).items():
            if name.startswith("model."):
                assert torch.equal(begun[name], value), name
                assert stage != "text" or name.endswith("norm.weight") or not torch.equal(value, fresh[name[6:]])


def test_the_last_stage_trains_every_weight_of_media_that_inference_reads(
    recipe: NanoRecipe, trained: RunFolder
) -> None:
    """Prevents a projection or adapter that no task trains and that is exported with random weights."""
    before, after = new_objective(recipe, recipe.stage("all"), trained).state_dict(), saved(trained, "all")
    same = {name for name, value in after.items() if torch.equal(before[name], value)}
    last_layer = f"model.image.tower.layers.{new_model(recipe, trained).config.vision.num_layers - 1}."
    unread = (last_layer, "model.image.tower.head.", "model.image.tower.post_layernorm.", "model.audio.encoder.mean")
    left = {name for name in same if not name.startswith((*unread, "model.audio.encoder.invstd"))}
    assert left <= {"model.audio.encoder.relative_bias.weight", "model.image.tower.probe"}


def test_an_exported_folder_loads_and_records_its_training(
    recipe: NanoRecipe, trained: RunFolder, tmp_path: Path
) -> None:
    """Prevents a checkpoint that phi4mm cannot load, or one without a record of its training."""
    export(recipe, trained, tmp_path / "nano", command="phi4mm train nano recipe.toml")
    model = phi4mm.load(tmp_path / "nano", dtype="bfloat16")
    reply = model.chat("Hello.", params=phi4mm.SamplingParams(max_tokens=3))
    assert reply.usage.completion_tokens <= 3
    assert model.config.text.rope.max_positions >= 24576  # half an hour of sound is 22,500 tokens
    record = json.loads((tmp_path / "nano" / "training.json").read_text(encoding="utf-8"))
    assert record["command"] == "phi4mm train nano recipe.toml"
    assert {name: stage["steps_taken"] for name, stage in record["stages"].items()} == {
        stage.name: stage.training.steps for stage in recipe.stages
    }
    assert {"commit", "seed", "speech", "hardware", "versions", "limits"} <= set(record)
    ends = json.loads((tmp_path / "nano" / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"]
    tokenizer = model.processor.tokenizer
    assert ends == [tokenizer.id(Special.END), tokenizer.id(Special.ENDOFTEXT)]


def test_going_on_with_a_finished_stage_takes_no_further_step(recipe: NanoRecipe, trained: RunFolder) -> None:
    """Prevents a second call from training beyond the schedule."""
    stage, reports = recipe.stage("seeing"), list[Progress]()
    before = trained.state("seeing").read_bytes()
    assert train_stage(new_trainer(recipe, stage, trained), recipe, stage, trained, reports.append)
    assert trained.state("seeing").read_bytes() == before and [progress.step for progress in reports] == [2]
    longer = replace(stage, training=replace(stage.training, steps=3))
    assert train_stage(new_trainer(recipe, longer, trained), recipe, longer, trained, reports.append)
    assert trained.state("seeing").read_bytes() != before and reports[-1].step == 3
    assert set(reports[-1].losses) <= {"shown", "read"}
