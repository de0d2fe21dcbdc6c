"""Speech synthesized once and read many times: clean utterances of the training split in one memory-mapped file.

A bank is a folder with `samples.i16`, mono 16 kHz int16 utterances one after another, and `index.json`: their texts,
the sample at which each ends, and the seconds at which each word begins.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import soxr

from phi4mm.config.json_file import read_json_as
from phi4mm.errors import ConfigError
from phi4mm.nano.synth import augment, voice, world
from phi4mm.nano.synth.example import Language
from phi4mm.nano.synth.split import Split
from phi4mm.protocol.messages import Audio
from phi4mm.training.workers import worker_pool

Utterance: TypeAlias = tuple[str, npt.NDArray[np.int16], tuple[float, ...]]
RATE = 16000
BLOCK = 500
MAX_INDEX_BYTES = 2**28


class SpeechBank:
    """The utterances of a bank's folder, found by text."""

    def __init__(self, folder: Path) -> None:
        index = read_json_as(folder / "index.json", dict, "the index of a speech bank", ConfigError, MAX_INDEX_BYTES)
        self.texts: list[str] = index["texts"]
        self.digest: str = index["digest"]
        self.onsets: list[list[float]] = index["onsets"]
        self._ends: list[int] = index["ends"]
        self._samples = np.memmap(folder / "samples.i16", np.int16, "r")
        self._by_text: defaultdict[str, list[int]] = defaultdict(list)
        for number, text in enumerate(self.texts):
            self._by_text[text].append(number)

    def speak(self, text: str, language: Language, split: Split, rng: random.Random) -> Audio:
        """An utterance of `text`, newly stretched and augmented.

        Synthesized now if the bank has none of this text or the split is not `train`.
        """
        if split != "train" or text not in self._by_text:
            return world.speak(text, language, split, rng)
        number = rng.choice(self._by_text[text])
        noise = np.random.default_rng(rng.getrandbits(64))
        stretched = augment.stretch(self.clean(number), float(noise.uniform(*augment.STRETCH)))
        return Audio(augment.augment(stretched, RATE, noise), RATE)

    def samples(self, number: int) -> int:
        """The number of samples of utterance `number`."""
        return self._ends[number] - (self._ends[number - 1] if number else 0)

    def clean(self, number: int) -> npt.NDArray[np.float32]:
        """Utterance `number` without augmentation: (n,) float32."""
        end = self._ends[number]
        return self._samples[end - self.samples(number) : end].astype(np.float32) / np.float32(32768)


def build_bank(
    folder: Path, counts: dict[world.Task, int], seed: int, processes: int, report: Callable[[str], None]
) -> None:
    """Synthesize the first `counts` training examples of each task and write the bank.

    report  called with a line on the progress
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        (task, start, min(start + BLOCK, count), seed)
        for task, count in counts.items()
        for start in range(0, count, BLOCK)
    ]
    texts: list[str] = []
    onsets: list[tuple[float, ...]] = []
    ends, digest = [0], hashlib.sha256()
    report(f"speech: 0 of {sum(counts.values())} utterances")
    with open(folder / "samples.part", "wb") as out, worker_pool(processes) as pool:
        for utterances in pool.map(_speak_block, jobs):
            for text, samples, word_onsets in utterances:
                out.write(samples.tobytes())
                texts.append(text)
                onsets.append(word_onsets)
                ends.append(ends[-1] + len(samples))
                digest.update(f"{text} {len(samples)} ".encode())
            report(f"speech: {len(texts)} of {sum(counts.values())} utterances")
    os.replace(folder / "samples.part", folder / "samples.i16")
    index = {"texts": texts, "onsets": onsets, "ends": ends[1:], "digest": digest.hexdigest()}
    (folder / "index.part").write_text(json.dumps(index), encoding="utf-8")
    os.replace(folder / "index.part", folder / "index.json")


def _speak_block(job: tuple[world.Task, int, int, int]) -> list[Utterance]:
    task, start, end, seed = job
    return [_speak(text, random.Random(f"{seed} {task} {n}")) for n, text in _texts(task, start, end)]


def _texts(task: world.Task, start: int, end: int) -> Iterator[tuple[int, str]]:
    for number in range(start, end):
        yield number, world.example("train", number, task, world.silent).spoken


def _speak(text: str, rng: random.Random) -> Utterance:
    speech = voice.speak(text, voice.draw_voice("train", rng))
    resampled = soxr.resample(speech.samples, speech.rate, RATE)
    return text, np.round(np.clip(resampled, -1, 1) * 32767).astype(np.int16), speech.onsets
