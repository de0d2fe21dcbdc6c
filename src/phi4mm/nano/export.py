"""A trained nano as a folder that says how it came to be."""

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
    "English only, about 200 words, spoken by espeak-ng's voices; real speech was never heard",
    "drawn images of ten objects in eight colours at five places, and of fourteen signs; photographs were never seen",
    "thirteen tools by their own names; a value never seen in training is often copied wrongly",
    "whatever lies outside this small world is answered with something from inside it",
)


def export(recipe: NanoRecipe, out: Path, command: str) -> None:
    """Write the jointly trained model into the new folder `out`: the original layout, bfloat16, with training.json.

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
    with tempfile.TemporaryDirectory() as companions:
        for name, value in files.items():
            text = json.dumps(value, indent=2) + "\n"
            Path(companions, f"{name}.json").write_text(text, encoding="utf-8")
        shutil.copyfile(recipe.folder / "tokenizer.json", Path(companions, "tokenizer.json"))
        save_original(joint.model.to(torch.bfloat16), out, source=Path(companions))


def provenance(recipe: NanoRecipe, command: str) -> dict[str, Any]:
    """Where a model comes from, by name; scores are added by bench/nano_scores.py."""
    progress = {stage: read_progress(recipe.state(stage)) for stage in STAGES}
    return {
        "what": "nano, trained from nothing by phi4mm on the world of phi4mm.nano.synth",
        "command": command,
        "seed": recipe.seed,
        "commit": _commit(),
        "data": {"speech": recipe.utterances, "speech_digest": open_batch_maker(recipe.folder).bank.digest},
        "stages": {
            stage: asdict(recipe.plan(stage)) | {"steps_taken": done.step, "seconds": round(done.seconds)}
            for stage, done in progress.items()
        },
        "hardware": {"processor": cpu_name(), "cores": usable_cores(), "device": "cpu"},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONED}},
        "limits": list(LIMITS),
    }


def _commit() -> str:
    """The commit of the code that runs, with a mark if files differ from it."""
    folder = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"], cwd=folder, capture_output=True, text=True
        )
    except FileNotFoundError:
        return "unknown: git is not installed"
    return found.stdout.strip() or "unknown: no commit"
