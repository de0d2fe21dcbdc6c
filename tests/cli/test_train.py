from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from phi4mm.cli.main import main
from phi4mm.cli.train import read_recipe
from phi4mm.nano.tokenizer import train_tokenizer

RECIPE = """
folder = "work"
seed = 0
vocabulary = 512
utterances = { transcribe = 4000, spoken_scene = 500, spoken_chat = 500 }
audio = { steps = 2, batch = 2, rate = 1e-3 }
vision = { steps = 2, batch = 2, rate = 1e-3 }
joint = { steps = 2, batch = 2, rate = 1e-3 }
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


@pytest.mark.skipif(os.name == "nt", reason="process groups and signals of POSIX")
@pytest.mark.parametrize("line", ["recipe ", "speech: 0 of 5000", "speech: 1000 of 5000"])
def test_case_b12_ctrl_c_ends_a_training_at_once_with_one_line(recipe: Path, line: str) -> None:
    """While torch is loaded, while the first speech is made, and with speech of other processes on its way."""
    pytest.importorskip("espeakng_loader")
    (recipe.parent / "work").mkdir()
    (recipe.parent / "work" / "tokenizer.json").write_text(train_tokenizer(30, 512), encoding="utf-8")
    command = [sys.executable, "-m", "phi4mm", "train", "nano", str(recipe)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        said = [process.stderr.readline()]
        assert said == [f"recipe {recipe}\n"]
        while not said[-1].startswith(line):
            said.append(process.stderr.readline())
        interrupted = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        # The worker processes inherit the pipe, so it ends when all of them have ended.
        rest = [said for said in process.stderr if not said.startswith("speech: ")]
    assert rest == ["phi4mm train: stopped; the same command with --resume goes on from the last saved state\n"]
    assert process.returncode in (130, -signal.SIGINT)  # the latter where Python itself was interrupted in an import
    assert time.monotonic() - interrupted < 6  # 0.4 s on an idle machine


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--stage", "joint"], "stage joint needs {work}/audio.safetensors; run stage audio first"),
        (["--stage", "vision", "--out", "new"], "writing the model needs {work}/audio.safetensors; run stage audio"),
        (["--stage", "look"], "it is called vision now"),
    ],
)
def test_case_b12_a_stage_without_its_state_is_refused_before_any_work(
    recipe: Path, argv: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Minutes of speech synthesis, and a training, came before the missing file."""
    assert main(["train", "nano", str(recipe), *argv]) == 1
    assert told.format(work=recipe.parent / "work") in capsys.readouterr().err
    assert os.listdir(recipe.parent) == ["recipe.toml"]


def test_case_b12_the_folder_of_a_recipe_is_relative_to_the_recipe(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that is resumed from another working folder would begin again."""
    assert read_recipe(recipe).folder == recipe.parent / "work"
    monkeypatch.setenv("HOME", "/home/someone")
    for folder in ("~/work", "/home/someone/work"):
        recipe.write_text(RECIPE.replace("work", folder))
        assert read_recipe(recipe).folder == Path("/home/someone/work")


def test_a_recipe_that_never_ends_and_threads_below_zero_are_refused(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A named pipe would hang; torch ends in a traceback."""
    os.mkfifo(recipe.with_suffix(".fifo"))
    assert main(["train", "nano", str(recipe.with_suffix(".fifo"))]) == 1
    assert "is not a regular file; expected a recipe" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "nano", str(recipe), "--threads", "-1"])
    assert "--threads is -1" in capsys.readouterr().err
