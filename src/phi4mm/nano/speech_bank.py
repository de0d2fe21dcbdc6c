"""Speech synthesized once and read many times: clean sentences of the training split in memory-mapped files.

A bank is a folder of parts, each a pair of files named by what makes it: `NAME.i16` holds mono 16 kHz int16 sentences
one after another, `NAME.json` their texts, voices, ends and word onsets; `index.json` lists the parts. A part that is
there is never made again, so an interrupted build goes on where it was, and a change of one language's sentences or
voices makes the parts of that language anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from phi4mm.config.json_file import read_json_as
from phi4mm.errors import ConfigError
from phi4mm.nano.synth import speaker, voice, world
from phi4mm.nano.synth.example import LANGUAGES, Language
from phi4mm.nano.synth.passages import passage
from phi4mm.nano.synth.split import Split
from phi4mm.nano.synth.utterance import Voice
from phi4mm.protocol.messages import Audio
from phi4mm.training.workers import worker_pool

Group: TypeAlias = tuple[int, tuple[str, ...]]  # which time these sentences are said, from 0; sentences of one voice
PART = 400  # sentences of a part: some seconds of synthesis and 30 MB
VOICES = 24  # that say the same sentences at most
MAX_INDEX_BYTES = 2**24


class SpeechBank:
    """The sentences of a bank's folder, found by language and text.

    spoken  of each task whose speech it was made for, how many training examples
    """

    def __init__(self, folder: Path) -> None:
        index = _read(folder / "index.json")
        self.digest: str = index["digest"]
        self.spoken: dict[str, int] = index["spoken"]
        self.texts: list[str] = []
        self.languages: list[Language] = []
        self.onsets: list[list[float]] = []
        self._places: list[tuple[int, int, int]] = []  # part, start, end
        self._voices: list[tuple[int, int]] = []  # part, and the number of the voice in it
        self._samples: list[npt.NDArray[np.int16]] = []
        self._by_text: defaultdict[tuple[Language, str], list[int]] = defaultdict(list)
        for number, name in enumerate(index["parts"]):
            self._open_part(number, folder, name)

    def _open_part(self, number: int, folder: Path, name: str) -> None:
        part = _read(folder / f"{name}.json")
        self._samples.append(np.memmap(folder / f"{name}.i16", np.int16, "r"))
        start = 0
        for text, spoken_by, end, onsets in zip(
            part["texts"], part["voices"], part["ends"], part["onsets"], strict=True
        ):
            self._by_text[part["language"], text].append(len(self.texts))
            self._places.append((number, start, end))
            self._voices.append((number, spoken_by))
            self.texts.append(text)
            self.languages.append(part["language"])
            self.onsets.append(onsets)
            start = end

    def speak(self, text: str, language: Language, split: Split, rng: random.Random) -> Audio:
        """`text` as speaker.say has it: sentences of the bank, each part in one voice where the bank has it so.

        Synthesized now if the bank lacks a sentence or the split is not `train`.
        """
        parts = speaker.parts(text)
        if split != "train" or any((language, line) not in self._by_text for lines in parts for line in lines):
            return speaker.say(text, language, split, rng)
        return speaker.record([self.clean(n) for lines in parts for n in self._in_one_voice(language, lines, rng)], rng)

    def _in_one_voice(self, language: Language, lines: list[str], rng: random.Random) -> list[int]:
        """The number of each line in the bank: of one voice that says them all, if there is one."""
        found = [{self._voices[n]: n for n in self._by_text[language, line]} for line in lines]
        voices = [spoken_by for spoken_by in found[0] if all(spoken_by in numbers for numbers in found[1:])]
        if not voices:
            return [rng.choice(list(numbers.values())) for numbers in found]
        spoken_by = rng.choice(voices)
        return [numbers[spoken_by] for numbers in found]

    def samples(self, number: int) -> int:
        """The number of samples of sentence `number`."""
        _, start, end = self._places[number]
        return end - start

    def clean(self, number: int) -> npt.NDArray[np.float32]:
        """Sentence `number` without augmentation: (n,) float32."""
        part, start, end = self._places[number]
        return self._samples[part][start:end].astype(np.float32) / np.float32(32768)


@dataclass(frozen=True)
class PartPlan:
    """What a part is made of: groups of sentences of one language; each decides its voice."""

    language: Language
    groups: tuple[Group, ...]
    seed: int

    def voices(self) -> list[Voice]:
        """The voice of each group."""
        rngs = (random.Random(f"{self.seed} {self.language} {time} {lines}") for time, lines in self.groups)
        return [voice.draw_voice(self.language, "train", rng) for rng in rngs]

    @property
    def name(self) -> str:
        """The language and a digest of the sentences and of the voices that say them."""
        made_of = json.dumps([self.language, self.groups, [asdict(drawn) for drawn in self.voices()]])
        return f"{self.language}-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"


def build_bank(
    folder: Path,
    counts: Mapping[str, int],
    passages: Mapping[Language, int],
    seed: int,
    processes: int,
    report: Callable[[str], None],
) -> None:
    """Synthesize the first `passages` of each language, and what the first `counts` training examples of a task say.

    report  called with a line on the progress
    """
    folder.mkdir(parents=True, exist_ok=True)
    report("speech: collecting the sentences")
    plans = plan_parts(counts, passages, seed)
    missing = [plan for plan in plans if not (folder / f"{plan.name}.json").exists()]
    total = sum(len(lines) for plan in plans for _, lines in plan.groups)
    done = total - sum(len(lines) for plan in missing for _, lines in plan.groups)
    report(f"speech: {done} of {total} sentences")
    with worker_pool(processes) as pool:
        jobs = {pool.submit(make_part, folder, plan): plan for plan in missing}
        for job in as_completed(jobs):
            done += job.result()
            report(f"speech: {done} of {total} sentences")
    names = [plan.name for plan in plans]
    made = " ".join(_read(folder / f"{name}.json")["digest"] for name in names)
    digest = hashlib.sha256(made.encode()).hexdigest()
    _write(folder / "index.json", _settings(counts, passages, seed) | {"parts": names, "digest": digest})


def is_built(folder: Path, counts: Mapping[str, int], passages: Mapping[Language, int], seed: int) -> bool:
    """Whether the folder holds the bank of these settings."""
    if not (folder / "index.json").exists():
        return False
    return _settings(counts, passages, seed).items() <= _read(folder / "index.json").items()


def _settings(counts: Mapping[str, int], passages: Mapping[Language, int], seed: int) -> dict[str, Any]:
    return {"spoken": dict(counts), "passages": dict(passages), "seed": seed}


def plan_parts(counts: Mapping[str, int], passages: Mapping[Language, int], seed: int) -> list[PartPlan]:
    """The parts of a bank, language by language."""
    groups: dict[Language, list[Group]] = {language: [] for language in LANGUAGES}
    for language, count in passages.items():
        groups[language] = [(0, passage(number, language)) for number in range(count)]
    times: Counter[tuple[Language, tuple[str, ...]]] = Counter()
    for language, lines in said(counts):
        if times[language, lines] < VOICES:
            groups[language].append((times[language, lines], lines))
        times[language, lines] += 1
    return [PartPlan(language, block, seed) for language in LANGUAGES for block in _blocks(groups[language])]


def _blocks(groups: list[Group]) -> Iterator[tuple[Group, ...]]:
    """Groups of some PART sentences."""
    block: list[Group] = []
    for group in groups:
        block.append(group)
        if sum(len(lines) for _, lines in block) >= PART:
            yield tuple(block)
            block = []
    if block:
        yield tuple(block)


def said(counts: Mapping[str, int]) -> Iterator[tuple[Language, tuple[str, ...]]]:
    """What each voice says in the first `counts` training examples of each task, in their order."""
    heard: list[tuple[Language, tuple[str, ...]]] = []

    def listen(text: str, language: Language, split: Split, rng: random.Random) -> Audio:
        heard.extend((language, tuple(lines)) for lines in speaker.parts(text))
        return world.silent(text, language, split, rng)

    for task, count in counts.items():
        for number in range(count):
            world.example("train", number, task, listen)
        yield from heard
        heard.clear()


def make_part(folder: Path, plan: PartPlan) -> int:
    """Synthesize a part, its manifest last, and return the number of its sentences."""
    part: dict[str, Any] = {"language": plan.language, "texts": [], "voices": [], "ends": [], "onsets": [], "names": []}
    samples: list[npt.NDArray[np.int16]] = []
    end = 0
    for number, ((_, lines), drawn) in enumerate(zip(plan.groups, plan.voices(), strict=True)):
        part["names"].append(asdict(drawn))
        for line in lines:
            speech = voice.speak(line, drawn)
            trimmed, begin = speaker.at_rate(speech)
            samples.append(np.round(trimmed * 32767).astype(np.int16))
            end += len(trimmed)
            part["texts"].append(line)
            part["voices"].append(number)
            part["ends"].append(end)
            part["onsets"].append([round(max(0.0, onset - begin), 3) for onset in speech.onsets])
    unfinished = folder / f"{plan.name}.part"
    spoken = np.concatenate(samples).tobytes()
    part["digest"] = hashlib.sha256(spoken).hexdigest()
    unfinished.write_bytes(spoken)
    os.replace(unfinished, folder / f"{plan.name}.i16")
    _write(folder / f"{plan.name}.json", part)
    return len(samples)


def _read(path: Path) -> dict[str, Any]:
    return read_json_as(path, dict, "the index of a speech bank", ConfigError, MAX_INDEX_BYTES)


def _write(path: Path, value: dict[str, Any]) -> None:
    unfinished = path.with_suffix(".part.json")
    unfinished.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    os.replace(unfinished, path)
