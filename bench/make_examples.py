"""Makes the images and audio clips in examples/ from held-out combinations of nano's synthetic data.

    python bench/make_examples.py [FOLDER]

Needs the speech synthesizer: pip install 'phi4mm[synth]'.
"""

from __future__ import annotations

import json
import random
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import soundfile

from phi4mm.nano.synth import augment, scene, sentences, signs, voice
from phi4mm.nano.synth.split import is_held_out
from phi4mm.protocol.messages import Tool

BACKDROP = "grey"  # training has no stop sign with this backdrop
TOOLS = (
    Tool("get_weather", "Get the weather in a city.", {"city": {"type": "str", "description": "The city."}}),
    Tool("play_music", "Play a kind of music.", {"genre": {"type": "str", "description": "The genre."}}),
)


def main(folder: Path) -> None:
    """Write every file of the demo."""
    rng = random.Random(7)
    stop = next(sign for sign in signs.SIGNS if sign.name == "stop sign")
    assert is_held_out(stop.name, BACKDROP)
    signs.draw_sign(stop, BACKDROP, rng).save(folder / "stop_sign.png")
    shown = scene.make_scene("held_out", rng, 1)
    scene.draw_scene(shown, rng).save(folder / "scene.png")
    say(sentences.make_sentence("held_out", rng), folder / "speech.flac", rng)
    say(f"What color is the {shown.things[0].shape}?", folder / "question.flac", rng)
    (folder / "tools.json").write_text(json.dumps([asdict(tool) for tool in TOOLS], indent=2) + "\n", encoding="utf-8")


def say(text: str, path: Path, rng: random.Random) -> None:
    """Write `text` in a held-out voice, with a little silence around it."""
    speech = voice.speak(text, voice.draw_espeak("en", "held_out", rng))
    padded = augment.pad_silence(speech.samples, speech.rate, 0.2, 0.2)
    noisy = augment.add_noise(augment.set_peak(padded, 0.6), 35, np.random.default_rng(0))
    soundfile.write(path, noisy, speech.rate)
    print(f"{path.name}: {text}", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "examples")
