"""The promise of the package: a published script runs with one line changed, and says what phi4mm itself says."""

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


def test_only_the_import_line_of_the_script_knows_of_phi4mm() -> None:
    """A script that needs more changes than its import line breaks the promise, however well it runs."""
    program = SCRIPT.read_text().split('"""', 2)[2]
    assert [line for line in program.splitlines() if "phi4mm" in line] == [
        "from phi4mm.compat import AutoModelForCausalLM, AutoProcessor, GenerationConfig"
    ]


def test_the_model_cards_script_answers_as_phi4mm_itself(
    small_folder: Path, card_media: tuple[Path, Path], tmp_path: Path
) -> None:
    """Runs nano where it is in the package; a difference in decoding, padding or splicing shows in the words."""
    name = "nano" if (NANO / "config.json").is_file() else str(small_folder)
    image, audio = card_media
    command = [sys.executable, "-W", "error", str(SCRIPT), name, str(image), str(audio), "cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, capture_output=True, check=False, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr.decode()) == (0, "")

    model = phi4mm.load(name, device="cpu")
    replies = [model.generate(prompt=IMAGE_PROMPT, images=[image]), model.generate(prompt=AUDIO_PROMPT, audios=[audio])]
    said = [model.processor.tokenizer.decode(reply.ids) for reply in replies]
    assert done.stdout.decode() == f"image: {said[0]}\naudio: {said[1]}\n"
    if name == "nano":
        assert said == [reply.text for reply in replies]
