"""`phi4mm eval`: a table for people, one JSON object for machines, and comparisons."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

import phi4mm
from phi4mm.cli.main import main
from phi4mm.errors import ConfigError
from phi4mm.evaluation import scoring
from phi4mm.evaluation.rows import Case, Row, Task
from phi4mm.nano import evaluation
from tests.evaluation.models import TASK, KnownModel, half, perfect


class Loaded(KnownModel):
    settings = SimpleNamespace(device="cpu", dtype="bfloat16")


def missing(number: int) -> Case:
    raise ConfigError("no drawings; apt-get install openclipart-png")


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks of known answers in place of nano's, and a model that is right about half of them."""
    tasks = [TASK, Task(missing, (Row("drawing", "drawings", scoring.RIGHT),))]
    monkeypatch.setattr(evaluation, "tasks", lambda: tasks)
    monkeypatch.setattr(phi4mm, "load", lambda model, **_: Loaded(half))


def test_the_table_has_a_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    """Value, interval, examples, bar, and what it is; what is left out says why."""
    assert main(["eval", "nano", "--examples", "10", "--rows", "exact,words,drawing"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "row       value  95 % interval   examples  bar     unit",
        "exact     50.0%  23.7% to 76.3%        10  98.0%   exact: equal texts",
        "words     12.5%  5.0% to 20.0%         10  5.0%    word error rate: words",
        "drawing  left out: no drawings; apt-get install openclipart-png",
    ]
    assert err.splitlines() == ["exact, words: 10 examples"]


def test_json_has_one_key_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    """With value, count, interval, seed and seconds; the table goes to stderr."""
    assert main(["eval", "nano", "--examples", "6", "--seed", "9", "--json"]) == 0
    out, err = capsys.readouterr()
    record = json.loads(out)
    assert set(record["rows"]) == {"exact", "words", "letters", "sentence", "empty"}
    assert {key: record["rows"]["exact"][key] for key in ("value", "count", "seed", "unit", "errors")} == {
        "value": 0.5, "count": 6, "seed": 9, "unit": "exact", "errors": {},
    }  # fmt: skip
    assert len(record["rows"]["exact"]["interval"]) == 2
    assert set(record["left_out"]) == {"drawing"}
    assert record["provenance"]["model"] == "nano"
    assert record["provenance"]["settings"]["examples"] == 6
    assert "exact: equal texts" in err


def test_an_example_that_failed_is_named_below_the_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts as wrong, and the reader sees why."""
    monkeypatch.setattr(phi4mm, "load", lambda model, **_: Loaded(lambda n: None if n == 1 else perfect(n)))
    assert main(["eval", "nano", "--examples", "4", "--rows", "exact"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "exact, example 1, counted as wrong: InputError: the prompt has 9000 tokens; expected at most 4096"
    )


def test_wrong_answers_are_shown_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    """Question, right answer and answer; only the wrong ones, and not on stdout."""
    assert main(["eval", "nano", "--examples", "2", "--rows", "exact", "--wrong"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "exact: '1': 'Two three four five.', not 'Two three four'", "exact: 2 examples",
    ]  # fmt: skip


def test_two_records_are_compared_row_by_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Exit code 1 says that something is worse, as a gate needs it."""
    before, after = str(tmp_path / "before.json"), str(tmp_path / "after.json")
    assert main(["eval", "nano", "--examples", "40", "--out", before]) == 0
    monkeypatch.setattr(phi4mm, "load", lambda model, **_: Loaded(perfect))
    assert main(["eval", "nano", "--examples", "40", "--out", after]) == 0
    capsys.readouterr()
    assert main(["eval", "compare", before, after]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "exact     better: 50.0% to 100.0%, +50.0 (+33.2 to +50.0), paired, exact"
    assert lines[4] == "empty     within noise: 0.0% to 0.0%, +0.0 (+0.0 to +0.0), paired, empty"
    assert len(lines) == 5
    assert main(["eval", "compare", after, before, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["rows"]["exact"]["verdict"] == "worse"
    assert found["left_out"] == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nano", "other.json"], "eval nano takes no file, but got 'other.json'"),
        (["nano", "--out", "nowhere/record.json"], "--out: there is no folder 'nowhere'"),
        (["nano", "--examples", "0"], "expected a whole number of at least 1, not '0'"),
        (["compare", "one.json"], "eval compare takes two records, before and after; got 1"),
        (["everything"], "invalid choice: 'everything'"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_loaded(
    arguments: Sequence[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour of answers must not end in a record that cannot be written."""
    monkeypatch.setattr(phi4mm, "load", lambda *_, **__: pytest.fail("a model was loaded"))
    with pytest.raises(SystemExit) as exit:
        main(["eval", *arguments])
    assert exit.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


def test_an_unknown_row_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the row that was meant, before a model is loaded."""
    monkeypatch.setattr(phi4mm, "load", lambda *_, **__: pytest.fail("a model was loaded"))
    assert main(["eval", "nano", "--rows", "exact,wrods"]) == 1
    assert capsys.readouterr() == ("", "phi4mm eval: there is no row 'wrods'; did you mean words?\n")


def test_scores_are_put_into_training_json_on_demand(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of the model that was asked, and only then."""
    (tmp_path / "training.json").write_text("{}")
    arguments = ["eval", "nano", "--model", str(tmp_path), "--examples", "4", "--rows", "exact"]
    assert main(arguments) == 0
    assert (tmp_path / "training.json").read_text() == "{}"
    assert main([*arguments, "--record"]) == 0
    assert json.loads((tmp_path / "training.json").read_text())["scores"]["rows"]["exact"]["value"] == 0.5


def test_the_real_rows_answer_with_the_real_model(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typed and drawn examples of the first nano, which it knows well."""
    monkeypatch.undo()
    assert main(["eval", "nano", "--rows", "tool_call,scene", "--examples", "8", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows["tool_call"]["value"] >= 0.75
    assert rows["scene"]["value"] >= 0.75
