"""The guide: what it shows runs as it stands."""

from __future__ import annotations

import argparse
import contextlib
import doctest
import importlib
import io
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from phi4mm.cli.main import COMMANDS, main

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs" / "guide").glob("*.md"))
NEEDS = {"structured-output": "llguidance", "tools": "llguidance"}


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each code block."""
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def command_lines(page: Path) -> list[str]:
    """What a page shows after `$ phi4mm`, without comments."""
    lines = [line for kind, text in blocks(page) if kind == "console" for line in text.splitlines()]
    return [line.removeprefix("$ phi4mm ").partition("  #")[0] for line in lines if line.startswith("$ phi4mm ")]


LINES = sorted({line for page in PAGES for line in command_lines(page)})


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_python_of_a_page_prints_what_stands_below_it(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a page share their names; a text block right after one is its output, where ... is anything."""
    if page.stem in NEEDS:
        pytest.importorskip(NEEDS[page.stem])
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    shown = ""
    for kind, text in blocks(page):
        if kind == "python":
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile(text, str(page), "exec"), names)
            shown = output.getvalue()
        elif kind == "text":
            assert doctest.OutputChecker().check_output(text, shown, doctest.ELLIPSIS), shown


@pytest.mark.parametrize("line", LINES)
def test_a_command_is_one_that_the_program_takes(line: str) -> None:
    """A renamed option would leave a page that nobody can follow."""
    command, *arguments = shlex.split(line)
    parser = argparse.ArgumentParser(allow_abbrev=False)
    importlib.import_module(f"phi4mm.cli.{command}").configure(parser)
    parser.parse_args(arguments)


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("run nano") and " -p " in line])
def test_a_command_on_nano_answers(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the files in examples/."""
    if "--choice" in line:
        pytest.importorskip("llguidance")
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))  # nothing is piped in
    assert main(shlex.split(line)) == 0
    assert capsys.readouterr().out.strip()


def test_the_guide_shows_every_command() -> None:
    """One that is not shown is not found."""
    assert {line.split()[0] for line in LINES} == set(COMMANDS)
