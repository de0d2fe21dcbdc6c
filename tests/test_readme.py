"""The README's examples, run as they stand."""

from __future__ import annotations

import io
import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest

from phi4mm.cli.main import COMMANDS, main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
COMMAND_LINES = [
    line.removeprefix("$ phi4mm ").partition("#")[0].strip()
    for kind, text in BLOCKS
    if kind == "console"
    for line in text.splitlines()
    if line.startswith("$ phi4mm ")
]


@pytest.fixture
def _at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.usefixtures("_at_root")
def test_the_python_examples_give_the_answers_they_promise() -> None:
    """A renamed argument or file would break the first thing a newcomer tries."""
    names: dict[str, Any] = {}
    for kind, text in BLOCKS:
        if kind == "python":
            exec(compile(text, "README.md", "exec"), names)
    assert names["reply"].text == "A stop sign."
    assert (names["call"].name, names["call"].arguments) == ("get_weather", {"city": "Paris"})
    assert all(reply.text for reply in names["replies"])


@pytest.mark.usefixtures("_at_root")
@pytest.mark.parametrize("line", [line for line in COMMAND_LINES if " -p " in line])
def test_the_one_shot_commands_answer(
    line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answers on stdout and exits 0."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))  # nothing is piped in
    assert main(shlex.split(line)) == 0
    assert capsys.readouterr().out.strip()


def test_every_command_is_shown_and_every_shown_command_exists() -> None:
    """The README must not lag behind the program."""
    shown = {line.split()[0] for line in COMMAND_LINES}
    assert shown == set(COMMANDS)


def test_the_readme_is_short_and_every_figure_in_it_is_filled_in() -> None:
    """Under 200 lines, and no mark left where a measured figure belongs."""
    assert len(README.splitlines()) < 200
    assert not re.search(r"@[A-Z]+@", README)


def test_the_tables_are_those_of_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure typed by hand, or a record newer than its table, would be told apart from a measured one by nobody."""
    monkeypatch.setattr("sys.argv", ["tables.py", "--check"])
    assert runpy.run_path(str(ROOT / "bench" / "tables.py"))["main"]() == 0
