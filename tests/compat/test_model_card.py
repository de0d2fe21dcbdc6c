"""The script of the model card runs with one line changed, and gives the same answers as phi4mm.load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import phi4mm
from tests.compat.conftest import NANO

SCRIPT = Path(__file__).parent / "model_card.py"
IMAGE_PROMPT = "<|user|><|image_1|>What is shown in this image?<|end|><|assistant|>"
AUDIO_PROMPT = "<|user|><|audio_1|>Transcribe the audio clip into text.<|end|><|assistant|>"


def test_only_the_import_line_of_the_script_names_phi4mm() -> None:
    """The documentation promises that no other line must change."""
    program = SCRIPT.read_text().split('"""', 2)[2]
    assert [line for line in program.splitlines() if "phi4mm" in line] == [
        "from phi4mm.compat import AutoModelForCausalLM, AutoProcessor, GenerationConfig"
    ]


def run_script(*arguments: object, folder: Path, device: str) -> subprocess.CompletedProcess[bytes]:
    """The script as a process of its own, with PHI4MM_DEVICE set."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8", "PHI4MM_DEVICE": device}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, cwd=folder, env=environment)


def test_case_c_the_model_card_script_runs_on_a_cpu_when_asked_to(
    small_folder: Path, card_media: tuple[Path, Path], tmp_path: Path
) -> None:
    """Both prompts, on nano where the package has it; a difference in decoding, padding or media changes the text."""
    name = "nano" if (NANO / "config.json").is_file() else str(small_folder)
    image, audio = card_media
    done = run_script(name, image, audio, folder=tmp_path, device="cpu")
    assert done.returncode == 0, done.stderr.decode()
    told = done.stderr.decode().splitlines()
    assert len([line for line in told if "PHI4MM_DEVICE=cpu: this script asks for CUDA" in line]) == 1
    assert told[0].startswith(f"{SCRIPT}:"), "the warning names the line of the script"
    assert len(told) == 2  # the warning, and that line

    model = phi4mm.load(name, device="cpu")
    replies = [model.generate(prompt=IMAGE_PROMPT, images=[image]), model.generate(prompt=AUDIO_PROMPT, audios=[audio])]
    expected = [model.processor.tokenizer.decode(reply.ids) for reply in replies]
    assert done.stdout.decode() == f"image: {expected[0]}\naudio: {expected[1]}\n"
    if name == "nano":
        assert expected == [reply.text for reply in replies]


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without CUDA")
def test_without_cuda_the_script_ends_with_what_to_do(card_media: tuple[Path, Path], tmp_path: Path) -> None:
    """It asks for CUDA in four places, so the first of them must say how to run the script as it is."""
    done = run_script("nano", *card_media, folder=tmp_path, device="")
    assert done.returncode == 1
    assert "torch finds no CUDA device" in done.stderr.decode()
    assert "set PHI4MM_DEVICE=cpu to run this script on the CPU as it is" in done.stderr.decode()
