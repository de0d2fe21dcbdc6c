"""`phi4mm train nano`: mistakes before any work, and an end at any moment without a traceback or a lost step."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from phi4mm.cli.main import main
from phi4mm.nano.synth import world
from phi4mm.nano.tokenizer import train_tokenizer
from phi4mm.training.state import read_progress

RECIPE = """
seed = 0
vocabulary = 512
utterances = { transcribe = 4000, spoken_scene = 500, spoken_chat = 500 }
passages = {}
[[stages]]
name = "text"
goal = "answers"
train = ["model.text.layers"]
steps = 1000
rate = 1e-3
tokens = 100
tasks = { chat = 1 }
[[stages]]
name = "speech"
goal = "answers"
adapters = ["speech"]
steps = 2
rate = 1e-3
tokens = 100
tasks = { transcribe = 1 }
"""
posix = pytest.mark.skipif(os.name == "nt", reason="process groups and signals of POSIX")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def start(recipe: Path) -> subprocess.Popen[str]:
    work = recipe.parent / "work"
    work.mkdir()
    (work / "tokenizer.json").write_text(train_tokenizer(world.TASKS, 30, 512), encoding="utf-8")
    command = [sys.executable, "-m", "phi4mm", "train", "nano", str(recipe), "--folder", str(work)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


@posix
@pytest.mark.parametrize("line", ["train nano", "speech: collecting", "speech: [1-9]"])
def test_case_b12_ctrl_c_ends_a_training_at_once_with_one_line(recipe: Path, line: str) -> None:
    """While torch is loaded, while the first speech is made, and with speech of other processes on its way."""
    pytest.importorskip("espeakng_loader")
    with start(recipe) as process:
        assert process.stderr is not None
        said = [process.stderr.readline()]
        assert said == ["train nano: reading the recipe\n"]
        while not re.match(line, said[-1]):
            said.append(process.stderr.readline())
        interrupted = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        # The worker processes inherit the pipe, so it ends when all of them have ended.
        rest = [said for said in process.stderr if not said.startswith("speech: ")]
    assert rest == ["phi4mm train: stopped; the same command goes on from the last saved state\n"]
    assert process.returncode in (130, -signal.SIGINT)  # the latter where Python itself was interrupted in an import
    assert time.monotonic() - interrupted < 6  # 0.4 s on an idle machine


@posix
def test_sigterm_saves_the_step_and_stops(recipe: Path) -> None:
    """Prevents a machine that shuts down from losing two minutes, and a half-written state."""
    recipe.write_text(RECIPE.replace("{ transcribe = 4000, spoken_scene = 500, spoken_chat = 500 }", "{}"))
    with start(recipe) as process:
        assert process.stderr is not None
        said = [process.stderr.readline()]
        while not said[-1].startswith("text 1/1000"):
            said.append(process.stderr.readline())
        os.kill(process.pid, signal.SIGTERM)
        rest = list(process.stderr)
    assert process.returncode == 1
    step = int(re.match(r"stage text: saved at step (\d+) and stopped", rest[-1])[1])  # type: ignore[index]
    assert read_progress(recipe.parent / "work" / "text.safetensors").step == step >= 1
    assert "stage text: text: " in "".join(said) and "frozen" in "".join(said)


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--stage", "speech"], "stage speech needs {work}/text.safetensors; run stage text first"),
        (["--stage", "text", "--out", "new"], "writing the model needs {work}/speech.safetensors; run stage speech"),
        (["--stage", "txt"], "no stage is called 'txt'; did you mean text?"),
    ],
)
def test_case_b12_a_stage_without_its_state_is_refused_before_any_work(
    recipe: Path, argv: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Minutes of speech synthesis, and a training, came before the missing file."""
    work = recipe.parent / "work"
    assert main(["train", "nano", str(recipe), "--folder", str(work), *argv]) == 1
    assert told.format(work=work) in capsys.readouterr().err
    assert os.listdir(recipe.parent) == ["recipe.toml"]


@posix
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
