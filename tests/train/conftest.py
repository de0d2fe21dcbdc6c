"""A workshop with a handful of made recordings: silence and tones, so that no synthesizer is needed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from phi4mm.synth import world
from phi4mm.train.nano import NanoRecipe, StagePlan
from phi4mm.train.speech import RATE, silent
from phi4mm.train.tokenizer import train_tokenizer


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> NanoRecipe:
    """A recipe whose folder holds a tokenizer and a speech bank of every text that the tests ask for."""
    folder = tmp_path_factory.mktemp("nano")
    (folder / "tokenizer.json").write_text(train_tokenizer(30, 512), encoding="utf-8")
    texts = sorted({world.example("train", n, task, silent).spoken for task in world.SPOKEN for n in range(300)})
    write_bank(folder / "speech", texts)
    plan = StagePlan(steps=4, batch=2, rate=1e-3)
    return NanoRecipe(folder, seed=0, vocabulary=512, recordings={}, hear=plan, see=plan, join=plan)


def write_bank(folder: Path, texts: list[str]) -> None:
    """A speech bank of one tone a text, a fifth of a second a word."""
    folder.mkdir()
    onsets = [[n / 5 for n in range(len(text.split()))] for text in texts]
    counts = [len(words) * RATE // 5 for words in onsets]
    rng = np.random.default_rng(0)
    samples = np.concatenate([np.round(8000 * np.sin(rng.uniform(0.1, 1) * np.arange(n))) for n in counts])
    (folder / "samples.i16").write_bytes(samples.astype(np.int16).tobytes())
    index = {"texts": texts, "onsets": onsets, "ends": np.cumsum(counts).tolist(), "digest": "made"}
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
