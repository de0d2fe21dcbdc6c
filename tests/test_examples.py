"""Each script in examples/ prints what its docstring says it prints."""

from __future__ import annotations

import ast
import doctest
import runpy
import textwrap
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(path for path in EXAMPLES.glob("*.py") if path.name != "demo.py")  # the demo has its own test


def promised(script: Path) -> tuple[str, str]:
    """The command in a script's docstring, and the output after the line `prints`."""
    text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    command, output = text.split("\n\nprints\n\n")
    lines = output.split("\n")
    end = next((n for n, line in enumerate(lines) if line and not line.startswith(" ")), len(lines))
    return command.split("\n\n")[-1].strip(), textwrap.dedent("\n".join(lines[:end])).strip() + "\n"


@pytest.mark.parametrize("script", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_an_example_prints_what_it_promises(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From any folder, without arguments; `...` stands for what nano does not know."""
    if script.stem == "structured_output":
        pytest.importorskip("llguidance")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(script)])
    command, output = promised(script)
    assert command == f"python examples/{script.name}"
    runpy.run_path(str(script), run_name="__main__")
    shown = capsys.readouterr().out
    assert doctest.OutputChecker().check_output(output, shown, doctest.ELLIPSIS), shown
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_an_example_is_short(script: Path) -> None:
    """One question each: what needs more belongs in a guide."""
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 50
