"""Records come back from their file as they were, and nothing else is taken for one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phi4mm.errors import ConfigError
from phi4mm.evaluation.evaluate import evaluate
from phi4mm.evaluation.records import Record, provenance, read_record, write_record
from tests.evaluation.models import TASK, KnownModel, half


def record() -> Record:
    return Record(*evaluate(KnownModel(half), [TASK], examples=4, seed=0), {"model": "known"})


def test_a_record_comes_back_whole(tmp_path: Path) -> None:
    """Compare needs every count of every example."""
    path = tmp_path / "record.json"
    write_record(record(), path)
    found = read_record(path)
    assert found.as_json() == path.read_text(encoding="utf-8").rstrip("\n")
    assert found.rows["words"].counts == ((0, 4), (1, 4), (0, 4), (1, 4))
    assert found.rows["exact"].interval == record().rows["exact"].interval
    assert list(tmp_path.iterdir()) == [path]


def test_a_record_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a record would be refused later, when the old one is gone."""
    path = tmp_path / "record.json"
    path.write_text("old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_record(record(), path)
    assert [(each, each.read_text()) for each in tmp_path.iterdir()] == [(path, "old")]


def spoil(change: Callable[[dict[str, Any]], Any]) -> str:
    data = json.loads(record().as_json())
    change(data)
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "is no record of phi4mm eval"),
        ("[1]", "holds a list"),
        ("nonsense", "cannot be read as JSON"),
        (spoil(lambda data: data.update(rows=3)), "is no record"),
        (spoil(lambda data: data["rows"]["exact"].pop("digest")), "row exact: expected the keys title"),
        (spoil(lambda data: data["rows"]["exact"].update(unit="x" * 999)), "unit is 'xxx"),
        (spoil(lambda data: data["rows"]["exact"]["counts"].pop()), "expected 2 whole numbers"),
        (spoil(lambda data: data["rows"]["exact"].update(counts=[[1, 1, 1]] * 4)), "expected 2 whole numbers"),
        (spoil(lambda data: data["rows"]["exact"].update(counts=[[True, 1]] * 4)), "expected 2 whole numbers"),
        (spoil(lambda data: data["rows"]["exact"].update(interval=[0.1])), "interval is \\[0.1\\]"),
        (spoil(lambda data: data["rows"]["exact"].update(value="much")), "value is 'much'"),
        (spoil(lambda data: data["rows"]["exact"].update(value=float("nan"))), "value is nan"),
        (spoil(lambda data: data["rows"]["exact"].update(digest=5)), "text as digest"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    """A file from elsewhere must end in a sentence, not in a traceback."""
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        read_record(path)
    assert len(str(error.value)) < 500 + len(str(path))


def test_provenance_names_the_weights_and_no_folder(tmp_path: Path) -> None:
    """Two records of other weights must not look alike; a record may be published."""
    digests = []
    for weights in (b"first", b"second"):
        (tmp_path / "model.safetensors").write_bytes(weights)
        facts = provenance(str(tmp_path), tmp_path, {"seed": 1})
        digests.append(facts["weights"])
        assert str(tmp_path.parent) not in json.dumps(facts)
    assert digests[0] != digests[1]
    assert {"model", "commit", "versions", "processor", "settings"} <= set(facts)
