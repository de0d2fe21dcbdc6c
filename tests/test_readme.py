"""The examples of the README work as they are printed."""

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
def test_the_python_examples_give_the_answers_they_show() -> None:
    """A renamed argument or file would break the first thing that a new user tries."""
    names: dict[str, Any] = {}
    for kind, text in BLOCKS:
        if kind == "python":
            exec(compile(text, "README.md", "exec"), names)
    assert names["reply"].text == "A stop sign."
    assert (names["call"].name, names["call"].arguments) == ("get_weather", {"city": "Paris"})
    assert all(reply.text for reply in names["replies"])


@pytest.mark.usefixtures("_at_root")
@pytest.mark.parametrize("line", [line for line in COMMAND_LINES if line.startswith("run nano ")])
def test_the_one_shot_commands_answer(
    line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answers on stdout and exits 0."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))  # an empty pipe
    assert main(shlex.split(line)) == 0
    assert capsys.readouterr().out.strip()


def test_every_command_is_shown_and_every_shown_command_exists() -> None:
    """The README lists exactly the commands that the program has."""
    shown = {line.split()[0] for line in COMMAND_LINES}
    assert shown == set(COMMANDS)


def test_the_readme_is_short_and_has_no_unfilled_figure() -> None:
    """Under 200 lines, and no marker such as @FIGURE@ left where a measured figure belongs."""
    assert len(README.splitlines()) < 200
    assert not re.search(r"@[A-Z]+@", README)


def test_the_tables_agree_with_the_recorded_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure typed by hand, or an outdated one, would look like a measured one."""
    monkeypatch.setattr("sys.argv", ["tables.py", "--check"])
    assert runpy.run_path(str(ROOT / "bench" / "tables.py"))["main"]() == 0
