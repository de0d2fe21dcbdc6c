"""A synthetic checkpoint with a small tokenizer, images and audio clips; nano and the examples where there are any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import soundfile

from phi4mm.compat import AutoModelForCausalLM, AutoProcessor

ROOT = Path(__file__).parent.parent.parent
NANO = ROOT / "src" / "phi4mm" / "nano"


@pytest.fixture(scope="session")
def model(small_folder: Path) -> AutoModelForCausalLM:
    return AutoModelForCausalLM.from_pretrained(small_folder)


@pytest.fixture(scope="session")
def processor(small_folder: Path) -> AutoProcessor:
    return AutoProcessor.from_pretrained(small_folder, trust_remote_code=True)


def make_image(width: int, height: int, seed: int) -> PIL.Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return PIL.Image.fromarray(pixels)


def make_clip(seconds: float, seed: int) -> tuple[npt.NDArray[np.float32], int]:
    samples = np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16000))
    return samples.astype(np.float32), 16000


@pytest.fixture(scope="session")
def card_media(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An image and an audio clip, from examples/ where it has any."""
    folder = tmp_path_factory.mktemp("media")
    make_image(120, 80, 0).save(folder / "image.png")
    samples, rate = make_clip(0.9, 0)
    soundfile.write(folder / "audio clip.wav", samples, rate)
    images = [*sorted((ROOT / "examples").rglob("*.png")), folder / "image.png"]
    clips = [*sorted((ROOT / "examples").rglob("*.wav")), folder / "audio clip.wav"]
    return images[0], clips[0]
