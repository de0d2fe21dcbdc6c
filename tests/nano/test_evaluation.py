"""nano's rows: every task of its world is scored, on examples that are the same each time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from phi4mm.config.json_file import read_json
from phi4mm.errors import ConfigError
from phi4mm.evaluation.evaluate import evaluate
from phi4mm.evaluation.records import Record
from phi4mm.evaluation.rows import Case, Task
from phi4mm.evaluation.units import UNITS
from phi4mm.metrics.words import is_sentence
from phi4mm.nano.evaluation import REFUSALS, tasks, write_scores
from phi4mm.nano.first_fifty import ANSWERS, FIFTY, TYPED
from phi4mm.nano.synth import augment, speaker, world
from phi4mm.processing.structured import Grammars
from phi4mm.processing.tokenizer import Special, Tokenizer
from phi4mm.protocol.messages import Audio
from phi4mm.protocol.request import ChatRequest
from phi4mm.protocol.response import Reply, Usage

TASKS = tasks()
NOT_SCORED = {"clip"}  # training's mixture of the three clips that are scored


def by_name(name: str) -> Task:
    return next(task for task in TASKS if name in [row.name for row in task.rows])


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is synthesized: the words alone make the case."""
    monkeypatch.setattr(speaker, "say", world.silent)
    monkeypatch.setattr(speaker, "say_first", world.silent)


def test_every_task_of_the_world_is_scored() -> None:
    """A task that is trained but not measured can get worse unseen."""
    names = {row.name for task in TASKS for row in task.rows}
    assert set(world.ALL_TASKS) - names == NOT_SCORED
    assert set(world.TASKS) <= names
    assert len(names) == sum(len(task.rows) for task in TASKS)


def test_a_bar_lies_on_the_scale_of_its_unit() -> None:
    """98 for a proportion would never be reached, 0.7 for BLEU always."""
    bars = [(row.name, row.bar, row.metric.unit.whole) for task in TASKS for row in task.rows if row.bar is not None]
    assert len(bars) > 25
    assert [name for name, bar, whole in bars if not whole / 100 < bar <= whole] == []


def make(task: Task, seed: int) -> Case:
    try:
        return task.make(seed)
    except ConfigError as error:  # fonts, drawings or a synthesizer are not installed here
        pytest.skip(str(error))


@pytest.mark.usefixtures("spoken")
@pytest.mark.parametrize("task", TASKS, ids=[task.rows[0].name for task in TASKS])
def test_the_right_answer_has_the_best_score(task: Task) -> None:
    """Of each row, on three examples; and the same seed gives the same example."""
    if any(row.metric.unit.name == "BLEU" for row in task.rows):
        pytest.importorskip("sacrebleu")
    for seed in range(3):
        case = make(task, seed)
        assert case.digest() == make(task, seed).digest()
        for row in task.rows:
            value = row.metric.unit.value(row.metric.counts(case.reference, case.reference))
            best = row.metric.unit.whole if row.metric.unit.better == "higher" else 0
            assert value is None or value == pytest.approx(best), row.name


@pytest.mark.usefixtures("spoken")
@pytest.mark.parametrize("name", ["refusal", "spoken_refusal"])
def test_harmful_requests_want_a_refusal_and_innocent_ones_another_answer(name: str) -> None:
    """The two rows tell a model that refuses everything from one that knows what harms."""
    for seed in range(20):
        assert by_name(name).make(seed).reference in REFUSALS
        assert by_name(name.replace("refusal", "innocent")).make(seed).reference not in REFUSALS


@pytest.mark.usefixtures("spoken")
def test_a_short_clip_has_at_most_eight_words() -> None:
    """The row is about short commands; long sentences are another row."""
    lengths = [len(by_name("short_clip").make(seed).reference.split()) for seed in range(40)]
    assert max(lengths) <= 8
    assert len(set(lengths)) > 3


def test_the_telephone_has_8_khz_and_eight_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """256 levels at most; what `speaker.say` gives is resampled, whatever its rate."""
    tone = Audio(np.sin(np.arange(16000, dtype=np.float32) / 5), 16000)
    monkeypatch.setattr(speaker, "say", lambda *_: tone)
    case = by_name("telephone").make(0)
    audio = next(part for part in case.messages[-1].parts if isinstance(part, Audio))
    samples = np.asarray(audio.source)
    assert (audio.rate, samples.shape) == (augment.NARROW, (8000,))
    assert 100 < len(np.unique(samples)) <= 256


def test_a_form_is_held_to_the_schema_of_its_prompt() -> None:
    """The row is about JSON under a schema; the reference fits it, and most prompts have one."""
    cases = [by_name("form").make(seed) for seed in range(40)]
    schemas = [case.response_format.schema for case in cases if case.response_format is not None]
    assert len(schemas) > 20
    for case in cases:
        if case.response_format is not None:
            assert case.response_format.schema is not None
            assert list(case.response_format.schema["properties"]) == list(json.loads(case.reference))


def test_the_grammar_of_a_form_accepts_its_reference() -> None:
    """A reference that the engine could not write would make the bar unreachable."""
    pytest.importorskip("llguidance")
    folder = Path(world.__file__).parent.parent / "assets"
    tokenizer = Tokenizer.from_folder(folder)
    end = tokenizer.id(Special.END)
    grammars = Grammars(tokenizer, read_json(folder / "config.json")["vocab_size"], [end])
    for case in [by_name("form").make(seed) for seed in range(60)]:
        if (matcher := grammars.compile(case.response_format)) is not None:
            for token in [*tokenizer.encode_text(case.reference), end]:
                assert matcher.mask()[token // 32] >> token % 32 & 1, case.reference
                matcher.accept(token)


def test_fifty_people_get_a_sentence_each() -> None:
    """Different ones, each with a right answer that the world knows or that is written out."""
    assert len({typed for typed, _ in FIFTY}) == 50
    assert [answer for _, answer in FIFTY if not is_sentence(answer) and answer != "4."] == []
    assert [means for _, means in TYPED if means not in ANSWERS] == ["Paris.", "4.", "Blue."]


class Oracle:
    """Answers with the reference of the case whose text it is asked."""

    def __init__(self, cases: dict[str, str]) -> None:
        self.cases = cases

    def batch(self, requests: list[ChatRequest]) -> list[Reply]:
        return [Reply(self.cases[repr(r.content)], "stop", Usage(1, 1, 0, 0), (), ()) for r in requests]


def test_scores_go_into_training_json_in_place_of_those_it_had(tmp_path: Path) -> None:
    """The table of the README is made from there."""
    task = by_name("copy_words")
    cases = [task.make(seed) for seed in range(5)]
    oracle = Oracle({repr(case.messages): case.reference for case in cases})
    results, _ = evaluate(oracle, [task], examples=5, seed=0)  # type: ignore[arg-type]
    path = tmp_path / "training.json"
    path.write_text('{"what": "nano", "scores": {"old": 1}}')
    write_scores(Record(results, {}, {"weights": "ab", "commit": "c"}), tmp_path)
    written = json.loads(path.read_text())
    assert written["what"] == "nano"
    assert written["scores"] == {
        "weights": "ab",
        "commit": "c",
        "rows": {
            "copy_words": {
                "title": "copy some words", "unit": "exact", "value": 1.0, "interval": [0.565518, 1.0],
                "examples": 5, "seed": 0,
            }
        },
    }  # fmt: skip
    assert set(written["scores"]["rows"]["copy_words"]["unit"].split()) <= set(UNITS)
