"""Writes a trained nano as a model folder, with training.json that records how it was trained."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from phi4mm.checkpoint.save import save_original
from phi4mm.machine import cpu_name, usable_cores
from phi4mm.nano.batches import IMAGES, open_batch_maker
from phi4mm.nano.recipe import STAGES, NanoRecipe
from phi4mm.nano.stages import new_stages
from phi4mm.processing.tokenizer import Special
from phi4mm.training.state import load_module, read_progress

VERSIONED = ("torch", "numpy", "tokenizers", "pillow", "espeakng-loader")
LIMITS = (
    "English only, about 200 words, spoken by espeak-ng's voices; no real speech in training",
    "drawn images of ten objects in eight colours at five positions, and of fourteen signs; no photographs in training",
    "thirteen tools, each with one name; an argument value that training does not contain is often copied wrongly",
    "a question about anything else gets an answer from this small set",
)


def export(recipe: NanoRecipe, out: Path, command: str) -> None:
    """Write the model of the joint stage into the new folder `out`: original layout, bfloat16, with training.json.

    raises  ConfigError when `out` is not empty, CheckpointError when the state does not fit the recipe
    """
    joint = new_stages(recipe).joint
    load_module(recipe.state("joint"), joint)
    tokenizer = open_batch_maker(recipe.folder).processor.tokenizer
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
        "training": provenance(recipe, command),
    }
    with tempfile.TemporaryDirectory() as extra_files:
        for name, value in files.items():
            text = json.dumps(value, indent=2) + "\n"
            Path(extra_files, f"{name}.json").write_text(text, encoding="utf-8")
        shutil.copyfile(recipe.folder / "tokenizer.json", Path(extra_files, "tokenizer.json"))
        save_original(joint.model.to(torch.bfloat16), out, source=Path(extra_files))


def provenance(recipe: NanoRecipe, command: str) -> dict[str, Any]:
    """The content of training.json; bench/nano_scores.py adds the scores."""
    progress = {stage: read_progress(recipe.state(stage)) for stage in STAGES}
    return {
        "what": "nano, trained from random weights by phi4mm on the synthetic data of phi4mm.nano.synth",
        "command": command,
        "seed": recipe.seed,
        "commit": _commit(),
        "data": {"speech": recipe.utterances, "speech_digest": open_batch_maker(recipe.folder).bank.digest},
        "stages": {
            stage: asdict(recipe.plan(stage)) | {"steps_taken": saved.step, "seconds": round(saved.seconds)}
            for stage, saved in progress.items()
        },
        "hardware": {"processor": cpu_name(), "cores": usable_cores(), "device": "cpu"},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONED}},
        "limits": list(LIMITS),
    }


def _commit() -> str:
    """The commit of the running code, with the suffix -dirty if files differ from it."""
    folder = Path(__file__).parent
    try:
        result = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"], cwd=folder, capture_output=True, text=True
        )
    except FileNotFoundError:
        return "unknown: git is not installed"
    return result.stdout.strip() or "unknown: no commit"
