"""Writes a trained nano as a model folder, with training.json that records how it was trained."""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from phi4mm.checkpoint.save import save_original
from phi4mm.machine import code_commit, cpu_name, usable_cores
from phi4mm.nano.batches import open_batch_maker
from phi4mm.nano.recipe import IMAGES, NanoRecipe, RunFolder, Stage
from phi4mm.nano.stages import load_stage, new_model
from phi4mm.processing.tokenizer import Special
from phi4mm.training.state import read_progress

VERSIONED = ("torch", "numpy", "tokenizers", "pillow", "espeakng-loader")
LIMITS = (
    "English only, about 200 words, spoken by espeak-ng's voices; no real speech in training",
    "drawn images of ten objects in eight colours at five positions, and of fourteen signs; no photographs in training",
    "thirteen tools, each with one name; an argument value that training does not contain is often copied wrongly",
    "a question about anything else gets an answer from this small set",
)


def export(recipe: NanoRecipe, folder: RunFolder, out: Path, command: str) -> None:
    """Write the model that the stages trained into the new folder `out`: original layout, bfloat16, with training.json.

    A stage that has not run leaves the weights that it would train as they were before it.

    raises  ConfigError when `out` is not empty, CheckpointError when a state does not fit the recipe
    """
    model = new_model(recipe, folder)
    for stage in _finished(recipe, folder):
        load_stage(recipe, stage, folder, model)
    tokenizer = open_batch_maker(folder.path).processor.tokenizer
    ends = [tokenizer.id(Special.END), tokenizer.id(Special.ENDOFTEXT)]
    files = {
        "generation_config": {"bos_token_id": ends[1], "eos_token_id": ends, "pad_token_id": ends[1]},
        "preprocessor_config": {
            "audio_compression_rate": 8,
            "audio_downsample_rate": 1,
            "audio_feat_stride": 1,
            "dynamic_hd": IMAGES.max_crops,
            "feature_extractor_type": "Phi4MMAudioFeatureExtractor",
            "image_processor_type": "Phi4MMImageProcessor",
            "processor_class": "Phi4MMProcessor",
        },
        "training": provenance(recipe, folder, command),
    }
    with tempfile.TemporaryDirectory() as extra_files:
        for name, value in files.items():
            text = json.dumps(value, indent=2) + "\n"
            Path(extra_files, f"{name}.json").write_text(text, encoding="utf-8")
        shutil.copyfile(folder.tokenizer, Path(extra_files, "tokenizer.json"))
        save_original(model.to(torch.bfloat16), out, source=Path(extra_files))


def provenance(recipe: NanoRecipe, folder: RunFolder, command: str) -> dict[str, Any]:
    """The content of training.json; `phi4mm eval nano` adds the scores."""
    stages = {}
    for stage in _finished(recipe, folder):
        saved = read_progress(folder.state(stage.name))
        stages[stage.name] = asdict(stage) | {"steps_taken": saved.step, "seconds": round(saved.seconds)}
    return {
        "what": "nano, trained from random weights by phi4mm on the synthetic data of phi4mm.nano.synth",
        "command": command,
        "seed": recipe.seed,
        "commit": code_commit(),
        "speech": dict(recipe.utterances),
        "stages": stages,
        "hardware": {"processor": cpu_name(), "cores": usable_cores(), "device": "cpu"},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONED}},
        "limits": list(LIMITS),
    }


def _finished(recipe: NanoRecipe, folder: RunFolder) -> list[Stage]:
    """The stages that have a saved state, in order."""
    return [stage for stage in recipe.stages if folder.state(stage.name).exists()]
