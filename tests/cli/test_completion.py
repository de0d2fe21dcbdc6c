"""The scripts of `phi4mm completion`, run in the shells that are installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import pytest

from phi4mm.cli.main import COMMANDS, main
from phi4mm.config.engine import DTYPES
from phi4mm.protocol.sampling import SamplingParams

BASH = """
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_phi4mm
printf '%s\\n' "${COMPREPLY[@]}"
"""
# zsh's own functions need a terminal; what they are given is what it would offer.
ZSH = """
compdef() { }; _files() { }
compadd() { shift; for word; do [[ $word == ${words[CURRENT]}* ]] && print -r -- $word; done; true }
source "$1"; shift
words=("$@") CURRENT=$#
_phi4mm
"""
FISH = """
source $argv[1]
complete -C (string join " " -- $argv[2..])
"""
Complete = Callable[[Sequence[str]], set[str]]


@pytest.fixture(params=["bash", "zsh", "fish"])
def complete(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Complete:
    """What a shell offers for the last of some words."""
    shell = shutil.which(request.param)
    if shell is None:
        pytest.skip(f"{request.param} is not installed")
    assert main(["completion", request.param]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    subprocess.run([shell, "-n", script], check=True)

    def offered(words: Sequence[str]) -> set[str]:
        line = ["-c", {"bash": BASH, "zsh": ZSH, "fish": FISH}[request.param]]
        line += {"bash": ["bash"], "zsh": ["zsh"], "fish": []}[request.param]
        home = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        empty = tmp_path / "empty"
        empty.mkdir(exist_ok=True)
        done = subprocess.run(
            [shell, *line, script, *words], capture_output=True, text=True, check=True, cwd=empty, env=home
        )
        assert done.stderr == ""
        return {line.partition("\t")[0] for line in done.stdout.split("\n") if line}

    return offered


def test_case_c_a_shell_completes_commands_options_and_choices(complete: Complete) -> None:
    """Each list is that of the parsers, so that an option which is added is completed by itself."""
    assert complete(["phi4mm", ""]) == {*COMMANDS, "help"}
    assert complete(["phi4mm", "in"]) == {"inspect"}
    assert complete(["phi4mm", "help", "in"]) == {"inspect"}
    assert complete(["phi4mm", "run", "n"]) == {"nano"}
    assert complete(["phi4mm", "run", "nano", "--dtype", ""]) == set(DTYPES)
    assert complete(["phi4mm", "quantize", "nano", "out", "--bits", ""]) == {"4", "8"}
    assert complete(["phi4mm", "completion", "z"]) == {"zsh"}
    assert complete(["phi4mm", "run", "nano", "--image", "n"]) == set()  # of files there are none
    sampling = {"--" + field.name.replace("_", "-") for field in fields(SamplingParams)}
    options = complete(["phi4mm", "run", "nano", "--"])
    assert sampling | {"--prompt", "--image", "--audio", "--json", "--quantize"} <= options
    assert "--stage" not in options
