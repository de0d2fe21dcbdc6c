"""bench/prove.py leaves a true record of every part that it runs, and lists them."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parent.parent / "bench"
GOOD = ("FLAG=7", "-c", "import os; print('first'); print('{\"flag\": ' + os.environ['FLAG'] + '}')")
BAD = ("-c", "print('1 failed'); raise SystemExit(3)")


@pytest.fixture
def prove(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    found = importlib.import_module("prove")
    monkeypatch.setattr(found, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(found, "PARTS", {"good": (GOOD,), "mixed": (BAD, GOOD), "other": (BAD,)})
    return found


def test_a_part_passes_only_when_all_its_commands_do(
    prove: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A record that says passed where one command failed would be worse than none."""
    monkeypatch.setattr("sys.argv", ["prove.py", "good", "mixed"])
    assert prove.main() == 1
    good, mixed = (json.loads((prove.RECORDS / f"{part}.json").read_text()) for part in ("good", "mixed"))
    assert (good["passed"], good["status"], good["figures"]) == (True, [0], [{"flag": 7}])
    assert (mixed["passed"], mixed["status"], mixed["figures"]) == (False, [3, 0], ["1 failed", {"flag": 7}])
    assert sorted(path.name for path in prove.RECORDS.iterdir()) == ["good.json", "mixed.json"]
    lines = capsys.readouterr().out.splitlines()[-3:]
    assert [line.split()[:2] for line in lines] == [["good", "passed"], ["mixed", "FAILED"], ["other", "never"]]


def test_a_record_says_on_what_and_of_which_code(prove: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure without its machine and its commit can be compared with nothing."""
    monkeypatch.setattr(prove, "git", lambda *words: {"rev-parse": "abc", "status": " M file"}[words[0]])
    assert prove.prove("good")
    record = json.loads((prove.RECORDS / "good.json").read_text())
    assert (record["commit"], record["dirty"], record["part"]) == ("abc", True, "good")
    assert record["command"] == [" ".join(GOOD)]
    named = ("started", "seconds", "processor", "cores", "memory_gb", "python", "torch")
    assert [name for name in named if not record[name]] in ([], ["seconds"])


def test_nothing_runs_where_no_part_is_named(prove: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever only looks must not start half an hour of work."""
    monkeypatch.setattr("sys.argv", ["prove.py"])
    assert prove.main() == 0
    assert not prove.RECORDS.exists()
    monkeypatch.setattr("sys.argv", ["prove.py", "unknown"])
    with pytest.raises(SystemExit):
        prove.main()
