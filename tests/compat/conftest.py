"""nano where the package has it, else a synthetic checkpoint with a small tokenizer; a picture and recordings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import soundfile
from safetensors.torch import load_file, save_file

import phi4mm
from phi4mm.checkpoint.synthetic import write_synthetic
from phi4mm.compat import AutoModelForCausalLM, AutoProcessor
from phi4mm.pipeline import Model
from phi4mm.processing.tokenizer import Special, Tokenizer
from tests.conftest import GOLDEN
from tests.processing.conftest import tokenizer_json

ROOT = Path(__file__).parent.parent.parent
NANO = ROOT / "src" / "phi4mm" / "nano"


@pytest.fixture(scope="session")
def synthetic_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with crops of 56 pixels, its tokenizer's vocabulary, and room for short answers only."""
    folder = tmp_path_factory.mktemp("compat") / "checkpoint"
    tokenizer = Tokenizer(tokenizer_json())
    config: dict[str, Any] = json.loads((GOLDEN / "tiny.json").read_text())
    end = tokenizer.id(Special.ENDOFTEXT)
    config |= {"vocab_size": tokenizer.size, "bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    config |= {"max_position_embeddings": 192, "original_max_position_embeddings": 96}
    config["vision_config"]["image_size"] = config["embd_layer"]["image_embd_layer"]["crop_size"] = 56
    write_synthetic(config, folder)
    weights = load_file(folder / "model.safetensors")
    # At full size the tied embedding makes every answer repeat the prompt's last token, whatever the media.
    weights["model.embed_tokens.weight"] *= 0.05
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "tokenizer.json").write_bytes(tokenizer_json())
    generation = {"bos_token_id": end, "eos_token_id": [tokenizer.id(Special.END), end], "pad_token_id": end}
    (folder / "generation_config.json").write_text(json.dumps(generation | {"transformers_version": "4.46.1"}))
    return folder


@pytest.fixture(scope="session")
def model(synthetic_folder: Path) -> AutoModelForCausalLM:
    return AutoModelForCausalLM.from_pretrained(synthetic_folder)


@pytest.fixture(scope="session")
def plain(synthetic_folder: Path) -> Model:
    """The same checkpoint through phi4mm's own door."""
    return phi4mm.load(synthetic_folder, device="cpu")


@pytest.fixture(scope="session")
def processor(synthetic_folder: Path) -> AutoProcessor:
    return AutoProcessor.from_pretrained(synthetic_folder, trust_remote_code=True)


def picture(width: int, height: int, seed: int) -> PIL.Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return PIL.Image.fromarray(pixels)


def recording(seconds: float, seed: int) -> tuple[npt.NDArray[np.float32], int]:
    samples = np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16000))
    return samples.astype(np.float32), 16000


@pytest.fixture(scope="session")
def card_media(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A picture and a recording: the examples' own, where there are any."""
    folder = tmp_path_factory.mktemp("media")
    picture(120, 80, 0).save(folder / "picture.png")
    samples, rate = recording(0.9, 0)
    soundfile.write(folder / "recording.wav", samples, rate)
    pictures = [*sorted((ROOT / "examples").rglob("*.png")), folder / "picture.png"]
    recordings = [*sorted((ROOT / "examples").rglob("*.wav")), folder / "recording.wav"]
    return pictures[0], recordings[0]
