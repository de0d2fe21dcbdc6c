"""The script of the model card runs with one line changed, and gives the same answers as phi4mm.load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


def test_the_model_card_script_gives_the_answers_of_phi4mm(
    small_folder: Path, card_media: tuple[Path, Path], tmp_path: Path
) -> None:
    """Runs nano where the package has it; a difference in decoding, padding or media would change the text."""
    name = "nano" if (NANO / "config.json").is_file() else str(small_folder)
    image, audio = card_media
    command = [sys.executable, "-W", "error", str(SCRIPT), name, str(image), str(audio), "cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, capture_output=True, check=False, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr.decode()) == (0, "")

    model = phi4mm.load(name, device="cpu")
    replies = [model.generate(prompt=IMAGE_PROMPT, images=[image]), model.generate(prompt=AUDIO_PROMPT, audios=[audio])]
    expected = [model.processor.tokenizer.decode(reply.ids) for reply in replies]
    assert done.stdout.decode() == f"image: {expected[0]}\naudio: {expected[1]}\n"
    if name == "nano":
        assert expected == [reply.text for reply in replies]
