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
from phi4mm.cli.main import COMMANDS, INSTEAD, main


def help_text(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    with pytest.raises(SystemExit) as exit:
        main([*argv, "--help"])
    assert exit.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("argv", [[], *([name] for name in COMMANDS)])
def test_help_fits_a_screen(
    argv: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 lines of 80 columns: text that scrolls away is not read."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = help_text(capsys, *argv).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that the help does not list is never found."""
    out = help_text(capsys)
    assert [name for name in COMMANDS if f"\n  {name} " not in out] == []


def test_case_c_phi4mm_alone_says_what_to_type_first(capsys: pytest.CaptureFixture[str]) -> None:
    """Three lines, not a wall; each is a command that is there."""
    with pytest.raises(SystemExit) as exit:
        main([])
    assert exit.value.code == 2
    out, err = capsys.readouterr()
    first, *tries = err.splitlines()
    assert (out, first) == ("", "phi4mm: a command is missing. Try first:")
    assert [line.split()[:2] for line in tries] == [["phi4mm", "run"], ["phi4mm", "doctor"], ["phi4mm", "help"]]


def test_case_c_help_is_a_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """People type it before they know of --help."""
    for name in COMMANDS:
        with pytest.raises(SystemExit) as exit:
            main(["help", name])
        assert exit.value.code == 0
        assert capsys.readouterr().out == help_text(capsys, name)
    for argv in (["help"], ["help", "help"]):
        with pytest.raises(SystemExit):
            main(argv)
        assert capsys.readouterr().out == help_text(capsys)


def test_case_c_help_of_run_explains_models_forms_and_the_chat(capsys: pytest.CaptureFixture[str]) -> None:
    """What MODEL may be was found in the README alone, and the chat's commands nowhere."""
    out = help_text(capsys, "run")
    words = ("nano (included)", "a hub id, from the cache", "int8 or int4", "phi4mm quantize", "a chat: /image /audio")
    assert [word for word in words if word not in out] == []


@pytest.mark.parametrize("name", INSTEAD)
def test_case_c_a_command_that_is_not_there_yet_says_what_works_today(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line; a command that came since must leave the list."""
    assert name not in COMMANDS
    with pytest.raises(SystemExit) as exit:
        main([name, "a.wav"])
    assert exit.value.code == 2
    assert capsys.readouterr() == ("", f"phi4mm {name}: {INSTEAD[name]}\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_listed_command_has_a_module(name: str) -> None:
    """A name in the list without its module would give a traceback."""
    module = importlib.import_module(f"phi4mm.cli.{name}")
    parser = argparse.ArgumentParser()
    module.configure(parser)
    assert callable(module.run)


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """Bug reports state it."""
    with pytest.raises(SystemExit) as exit:
        main(["--version"])
    assert exit.value.code == 0
    assert capsys.readouterr().out == f"phi4mm {phi4mm.__version__}\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["rnu"], "unknown command 'rnu'; did you mean run?"),
        (["zzz"], "unknown command 'zzz'; expected one of run, "),
        (["help", "rnu"], "unknown command 'rnu'; did you mean run?"),
        (["nano", "-p", "hi"], "'nano' is a model, not a command; did you mean phi4mm run nano?"),
        (["--verbose"], "unrecognized arguments: --verbose"),
        (["run"], "the following arguments are required: MODEL"),
        (["run", "nano", "--promt", "x"], "unrecognized arguments: --promt x; did you mean --prompt?"),
        (["run", "nano", "--images", "a.png"], "did you mean --image?"),
    ],
)
def test_wrong_use_is_exit_code_2_with_usage(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts tell wrong use from a failed answer by the exit code."""
    with pytest.raises(SystemExit) as exit:
        main(argv)
    assert exit.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
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
    """Printing the help of a command must not take the seconds of importing torch."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from phi4mm.cli.main import COMMANDS, main\n"
        "for name in COMMANDS:\n"
        "    try: main([name, '--help'])\n"
        "    except SystemExit as exit: assert exit.code == 0\n"
        "    else: raise AssertionError(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [name for name in COMMANDS if f"phi4mm {name} " not in done.stdout] == []


def test_no_command_imports_the_module_of_another() -> None:
    """Code that two commands need belongs in a library, not in a module with one command's arguments and printing.
    The chat and the question are parts of `run`, and `main` imports each command by its name. `completion` reads the
    parsers of all commands."""
    folder = Path(program.__file__).parent
    imports = {
        (path.stem, name)
        for path in folder.glob("*.py")
        for name in re.findall(r"phi4mm\.cli(?:\.| import )(\w+)", path.read_text(encoding="utf-8"))
    }
    parts = {("chat", "conversation"), ("chat", "terminal"), ("run", "chat"), ("run", "conversation")}
    assert imports == {*parts, ("run", "question"), ("completion", "main")}


def test_a_closed_pipe_gives_no_traceback() -> None:
    """`phi4mm doctor | head -1` closes the pipe early."""
    done = subprocess.run(
        f"{sys.executable} -m phi4mm doctor | true", shell=True, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no device that is always full")
@pytest.mark.parametrize("argv", [["help"], ["--version"], ["run", "--help"], ["bench", "--help"]])
def test_case_c_help_on_a_full_disk_says_so(argv: list[str]) -> None:
    """argparse drops what it cannot write: exit code 0, and an empty file."""
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "phi4mm", *argv]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"phi4mm \S+: \[Errno 28\] No space left on device\n", done.stderr)


def test_no_output_is_coloured(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR is honoured by never colouring; escape codes would clutter a log."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in help_text(capsys) + help_text(capsys, "run")


def test_a_phi_error_is_printed_and_a_bug_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a PhiError has a message for users; any other exception is a bug, whose traceback is needed."""
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


def test_ctrl_c_while_a_command_is_imported_gives_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """People take back what they typed at once."""

    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "load", interrupted)
    assert main(["doctor"]) == 130
    assert capsys.readouterr() == ("", "")


def test_the_installed_command_is_this_program() -> None:
    """The entry point in pyproject.toml and `python -m phi4mm` both run `main`."""
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="phi4mm")
    assert entry.load() is program.main
    done = subprocess.run(
        [sys.executable, "-m", "phi4mm", "--version"], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout == f"phi4mm {phi4mm.__version__}\n"


def test_case_c_what_the_command_line_holds_is_quoted_in_part(capsys: pytest.CaptureFixture[str]) -> None:
    """100 kB of an option or a value came back as an error of 100 kB."""
    for argv in (["run", "nano", "--" + "x" * 100_000], ["run", "nano", "--dtype", "x" * 100_000]):
        with pytest.raises(SystemExit):
            main(argv)
        assert len(capsys.readouterr().err) < 1000


def test_case_c_importing_the_package_takes_no_numpy() -> None:
    """A tenth of a second in which Ctrl-C ended the command with a traceback."""
    code = "import sys, phi4mm.cli.main; print('numpy' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
