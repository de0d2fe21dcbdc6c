from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import phi4mm
from phi4mm.cli import main as program
from phi4mm.cli.main import COMMANDS, main


def helped(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    with pytest.raises(SystemExit) as leaving:
        main([*argv, "--help"])
    assert leaving.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("argv", [[], *([name] for name in COMMANDS)])
def test_help_fits_a_screen(
    argv: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 lines of 80 columns: what scrolls away is not read."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = helped(capsys, *argv).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that help does not name is never found."""
    out = helped(capsys)
    assert [name for name in COMMANDS if f"\n  {name} " not in out] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_listed_command_is_there(name: str) -> None:
    """A name in the list without its file would be a traceback for whoever types it."""
    module = importlib.import_module(f"phi4mm.cli.{name}")
    parser = argparse.ArgumentParser()
    module.configure(parser)
    assert callable(module.run)


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    """Bug reports begin with it."""
    with pytest.raises(SystemExit) as leaving:
        main(["--version"])
    assert leaving.value.code == 0
    assert capsys.readouterr().out == f"phi4mm {phi4mm.__version__}\n"


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "a command is missing; expected one of run, "),
        (["rnu"], "unknown command 'rnu'; did you mean run?"),
        (["zzz"], "unknown command 'zzz'; expected one of run, "),
        (["--verbose"], "unrecognized arguments: --verbose"),
        (["run"], "the following arguments are required: MODEL"),
        (["run", "nano", "--promt", "x"], "unrecognized arguments: --promt x"),
    ],
)
def test_wrong_use_is_exit_code_2_with_usage(argv: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts tell a typing error from a failed answer by the code."""
    with pytest.raises(SystemExit) as leaving:
        main(argv)
    assert leaving.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert err.startswith("usage: phi4mm ")


def test_a_command_is_imported_only_when_it_is_called() -> None:
    """`phi4mm --help` must not wait seconds for torch."""
    code = (
        "import sys; from phi4mm.cli.main import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: pass\n"
        "print(sorted(m for m in sys.modules if m.startswith('phi4mm.cli.') or m == 'torch'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['phi4mm.cli.main']"


def test_the_help_of_every_command_needs_no_torch() -> None:
    """Whoever asks how a command is used must not wait seconds for what only its work needs."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from phi4mm.cli.main import COMMANDS, main\n"
        "for name in COMMANDS:\n"
        "    try: main([name, '--help'])\n"
        "    except SystemExit as leaving: assert leaving.code == 0\n"
        "    else: raise AssertionError(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [name for name in COMMANDS if f"phi4mm {name} " not in done.stdout] == []


def test_a_command_knows_no_other_command_s_file() -> None:
    """What two commands need is a library's: in a command's file it comes with that command's arguments and printing.
    The chat and the question are parts of `run`, and `main` imports each by its name."""
    folder = Path(program.__file__).parent
    found = {
        (path.stem, name)
        for path in folder.glob("*.py")
        for name in re.findall(r"phi4mm\.cli(?:\.| import )(\w+)", path.read_text(encoding="utf-8"))
    }
    assert found == {("run", "chat"), ("run", "question")}


def test_a_reader_that_leaves_is_no_traceback() -> None:
    """`phi4mm doctor | head -1` closes the pipe early."""
    done = subprocess.run(
        f"{sys.executable} -m phi4mm doctor | true", shell=True, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_no_output_is_coloured(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR is honoured by never colouring; escape codes in a log are noise."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in helped(capsys) + helped(capsys, "run")


def test_an_error_message_is_told_and_an_own_bug_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only errors made for people are shortened to a line; a bug must keep its traceback."""
    from phi4mm.cli import doctor

    def fail(args: argparse.Namespace) -> int:
        raise error

    monkeypatch.setattr(doctor, "run", fail)
    error: Exception = phi4mm.ConfigError("the folder is empty; name another")
    assert main(["doctor"]) == 1
    assert capsys.readouterr() == ("", "phi4mm doctor: the folder is empty; name another\n")
    error = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        main(["doctor"])


def test_the_installed_command_is_this_program() -> None:
    """The name in pyproject must lead here; `python -m phi4mm` does the same."""
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="phi4mm")
    assert entry.load() is program.main
    done = subprocess.run(
        [sys.executable, "-m", "phi4mm", "--version"], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout == f"phi4mm {phi4mm.__version__}\n"
