"""The speech bank: parts that are made once, and speech that is what a synthesizer would say."""

from __future__ import annotations

import random
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from phi4mm.nano import speech_bank
from phi4mm.nano.speech_bank import SpeechBank, build_bank, make_part, plan_parts
from phi4mm.nano.synth import passages, world
from phi4mm.nano.synth.augment import RATE

COUNTS = {"spoken_tool": 20, "spoken_chat": 60}


class InProcess:
    """A pool whose jobs run at once, in this process, where the voices are tones."""

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, job: object, *args: object) -> Future[int]:
        future: Future[int] = Future()
        future.set_result(job(*args))  # type: ignore[operator]
        return future


@pytest.fixture(autouse=True)
def _in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech_bank, "worker_pool", lambda _processes: InProcess())
    monkeypatch.setattr(speech_bank, "PART", 50)


def build(folder: Path, passage_count: int = 2) -> list[str]:
    """Build a bank and return the names of the parts that were made."""
    made: list[str] = []

    def watch(target: Path, plan: speech_bank.PartPlan) -> int:
        made.append(plan.name)
        return make_part(target, plan)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speech_bank, "make_part", watch)
        build_bank(folder, COUNTS, {"en": passage_count}, 0, 1, lambda line: None)
    return made


def test_a_bank_holds_every_passage_and_what_the_tasks_say(tmp_path: Path) -> None:
    """Prevents training that synthesizes while the card waits."""
    build(tmp_path)
    bank = SpeechBank(tmp_path)
    assert {*passages.passage(0, "en"), *passages.passage(1, "en")} <= set(bank.texts)
    spoken = [
        world.example("train", n, task, world.silent).spoken for task, count in COUNTS.items() for n in range(count)
    ]
    assert set(spoken) <= set(bank.texts)
    assert max(map(bank.texts.count, spoken)) > 1, "what is often said needs several voices"
    assert all(bank.samples(n) > 0.1 * RATE for n in range(len(bank.texts)))


def test_a_part_is_made_once_and_only_what_changes_is_made_again(tmp_path: Path) -> None:
    """Prevents a build that begins again after an interruption."""
    first = build(tmp_path)
    assert len(first) == len(set(first)) >= 3
    assert build(tmp_path) == []
    (tmp_path / f"{first[1]}.json").unlink()
    assert build(tmp_path) == [first[1]]
    assert set(build(tmp_path, passage_count=3)).isdisjoint(first[:1])


def test_another_language_is_another_part() -> None:
    """Prevents a change of one language that makes the others anew."""
    names = {plan.name for plan in plan_parts(COUNTS, {"en": 3}, 0)}
    both = {plan.name for plan in plan_parts(COUNTS, {"en": 3, "de": 2}, 0)}

    def of(names: set[str], language: str) -> set[str]:
        return {name for name in names if name.startswith(f"{language}-")}

    assert all(of(both, language) == of(names, language) for language in ("en", "fr", "es"))
    assert of(both, "de") != of(names, "de")
    assert not names & {plan.name for plan in plan_parts(COUNTS, {"en": 3}, 1)}, "another seed, other voices"


def test_the_bank_says_a_passage_in_one_voice(tmp_path: Path) -> None:
    """Prevents a clip of one speaker whose sentences have different voices."""
    build(tmp_path)
    bank = SpeechBank(tmp_path)
    for seed in range(20):
        lines = random.Random(seed).sample(passages.passage(seed % 2, "en"), 4)
        numbers = bank._in_one_voice("en", lines, random.Random(seed))
        assert [bank.texts[n] for n in numbers] == lines
        assert len({bank._voices[n] for n in numbers}) == 1


def test_held_out_speech_never_comes_from_the_bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents scores measured on voices of the training data."""
    build(tmp_path)
    bank = SpeechBank(tmp_path)
    monkeypatch.setattr(bank, "clean", lambda number: pytest.fail("read the bank"))
    text = bank.texts[0]
    held_out = bank.speak(text, "en", "held_out", random.Random(0)).source
    assert isinstance(held_out, np.ndarray) and len(held_out) > 0.1 * RATE
