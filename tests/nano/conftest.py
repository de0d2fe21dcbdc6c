"""A run's folder with a speech bank of tones, so that the tests need no speech synthesizer."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ImageFont

from phi4mm.nano.recipe import NanoRecipe, RunFolder, read_recipe
from phi4mm.nano.synth import fonts, world
from phi4mm.nano.synth.augment import RATE
from phi4mm.nano.synth.utterance import Speech
from phi4mm.nano.tokenizer import train_tokenizer
from phi4mm.protocol.inputs import F32

RECIPE = """
seed = 0
vocabulary = 512
utterances = {}
passages = {}
[[stages]]
name = "text"
goal = "answers"
train = ["model.text.embed_tokens", "model.text.layers", "model.text.norm"]
steps = 2
rate = 1e-3
tokens = 200
tasks = { chat = 3, tool_call = 1 }
[[stages]]
name = "hearing"
goal = "transcripts"
begin = []
train = ["model.audio.encoder", "head"]
steps = 2
rate = 1e-3
tokens = 60
pool = 2
tasks = { transcribe = 1 }
[[stages]]
name = "seeing"
goal = "shown"
begin = []
train = ["model.image.tower", "words", "letters"]
steps = 2
rate = 1e-3
tokens = 400
tasks = { scene = 1, line = 1 }
[[stages]]
name = "all"
goal = "answers"
train = ["model.image", "model.audio"]
adapters = ["speech", "vision"]
steps = 3
rate = 1e-3
tokens = 1500
checkpointing = true
tasks = { scene = 2, transcribe = 1, spoken_scene = 1, chat = 1, tool_call = 1 }
"""


def in_process(make: Callable[[int], Any], start: int, end: int, stride: int = 1) -> Generator[Any, None, None]:
    """`Prefetch` without its process, which takes seconds to start."""
    yield from map(make, range(start, end, stride))


@pytest.fixture(autouse=True)
def _batches_in_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "prefetch" not in request.node.name:
        monkeypatch.setattr("phi4mm.training.loop.Prefetch", in_process)


@pytest.fixture(autouse=True)
def _tones_for_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts that the bank lacks become tones too: espeak-ng's waves differ in phase from call to call."""
    monkeypatch.setattr("phi4mm.nano.synth.voice.speak", lambda text, voice: Speech(tone(text), RATE, (0.0,)))


@pytest.fixture(autouse=True)
def _one_font_for_all(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's own font, so that the tests need none installed."""
    if "font" not in request.node.name:
        monkeypatch.setattr(fonts, "load", pillow_font)


def pillow_font(_style: str, size: int) -> fonts.Font:
    font = ImageFont.load_default(size)
    assert isinstance(font, fonts.Font), "Pillow's own font is one that FreeType draws"
    return font


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> NanoRecipe:
    """A recipe of one stage of each goal, two steps each."""
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return read_recipe(path)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run's folder that holds a tokenizer and a speech bank of every text that the tests ask for."""
    run = RunFolder(tmp_path_factory.mktemp("nano"))
    run.tokenizer.write_text(train_tokenizer(world.TASKS, 30, 512), encoding="utf-8")
    texts = sorted({world.example("train", n, task, world.silent).spoken for task in world.SPOKEN for n in range(300)})
    write_bank(run.speech, texts)
    return run


def write_bank(folder: Path, texts: list[str]) -> None:
    """A speech bank of one tone per text, a fifth of a second per word."""
    folder.mkdir()
    samples = [np.round(tone(text) * 32767).astype(np.int16) for text in texts]
    np.concatenate(samples).tofile(folder / "en-tones.i16")
    onsets = [[0.2 * n for n in range(len(text.split()))] for text in texts]
    ends = np.cumsum([len(sentence) for sentence in samples]).tolist()
    part = {"language": "en", "texts": texts, "voices": [0] * len(texts), "ends": ends, "onsets": onsets}
    (folder / "en-tones.json").write_text(json.dumps(part), encoding="utf-8")
    (folder / "index.json").write_text(
        json.dumps({"parts": ["en-tones"], "spoken": {}, "digest": "tones"}), encoding="utf-8"
    )


def tone(text: str) -> F32:
    """A tone whose pitch and length come from the text."""
    samples = np.arange(len(text.split()) * RATE // 5)
    return np.asarray(0.3 * np.sin(0.1 * samples + len(text)), np.float32)
