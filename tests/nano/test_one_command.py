"""`phi4mm train nano` from an empty folder to a model that loads: every goal, a few steps each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import phi4mm
from phi4mm.cli.main import main
from phi4mm.nano.synth import world
from phi4mm.nano.tokenizer import train_tokenizer
from tests.nano.conftest import RECIPE as WITH_FONTS

# Printed lines need fonts, and the tokenizer is trained in a process of its own.
RECIPE = WITH_FONTS.replace("scene = 1, line = 1", "scene = 1")
ALIGNED = """
[[stages]]
name = "preferring"
goal = "preferences"
adapters = ["alignment"]
alignment = { adapter = "alignment", beta = 0.2 }
steps = 2
rate = 1e-2
tokens = 200
tasks = { refusal = 1, innocent = 1 }
[[stages]]
name = "scoring"
goal = "scores"
train = ["score"]
adapters = ["scores"]
alignment = { adapter = "scores" }
steps = 2
rate = 1e-2
tokens = 200
tasks = { refusal = 1, innocent = 1 }
[[stages]]
name = "rewarded"
goal = "rewards"
adapters = ["alignment"]
alignment = { adapter = "alignment", answers = 2, max_tokens = 3, uses = 2, scored_by = "scoring" }
steps = 2
rate = 1e-2
tokens = 80
tasks = { chat = 1, refusal = 1 }
[[stages]]
name = "preferring-spoken"
goal = "preferences"
adapters = ["speech"]
alignment = { adapter = "speech" }
steps = 1
rate = 1e-2
tokens = 200
tasks = { refusal = 1 }
"""


@pytest.fixture(autouse=True)
def _few_texts_for_the_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phi4mm.nano.stages.TOKENIZER_EXAMPLES", 20)


def trained(tmp_path: Path, name: str, recipe: Path) -> Path:
    folder, out = tmp_path / f"run-{name}", tmp_path / name
    assert main(["train", "nano", str(recipe), "--folder", str(folder), "--out", str(out)]) == 0
    return out


def test_one_command_trains_every_stage_and_the_model_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prevents stages that only work by hand; a second run gives the same weights, bit for bit."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE + ALIGNED, encoding="utf-8")
    out = trained(tmp_path, "nano", recipe)
    said = capsys.readouterr()
    assert said.out.splitlines() == [str(out)]
    for stage in ("text", "hearing", "seeing", "all", "preferring", "scoring", "rewarded", "preferring-spoken"):
        assert f"stage {stage}: " in said.err
    assert "stage rewarded: text LoRA alignment: " in said.err and " learn" in said.err
    assert "reward 0." in said.err and "kl " in said.err
    model = phi4mm.load(out)
    assert model.chat("Hello.", max_tokens=3).usage.completion_tokens <= 3
    record = json.loads((out / "training.json").read_text(encoding="utf-8"))
    assert record["stages"]["rewarded"]["steps_taken"] == 2
    assert record["stages"]["preferring"]["alignment"]["beta"] == 0.2
    assert record["stages"]["rewarded"]["alignment"]["scored_by"] == "scoring"
    first, again = (load_file(folder / "model.safetensors") for folder in (out, trained(tmp_path, "again", recipe)))
    assert first.keys() == again.keys() and not any("alignment" in name or "scores" in name for name in first)
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_the_steps_of_alignment_reach_the_weights_that_are_written(tmp_path: Path) -> None:
    """Prevents an adapter that is trained and then left out of the model."""
    whole, text = tmp_path / "whole.toml", tmp_path / "text.toml"
    tokenizer = train_tokenizer(world.TASKS, 30, 512)
    head = RECIPE.split('[[stages]]\nname = "hearing"')[0]
    whole.write_text(head + ALIGNED.split('[[stages]]\nname = "scoring"')[0], encoding="utf-8")
    text.write_text(head, encoding="utf-8")
    for path in (whole, text):  # one tokenizer, though the tasks differ
        (tmp_path / f"run-{path.stem}").mkdir()
        (tmp_path / f"run-{path.stem}" / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    aligned, before = (load_file(trained(tmp_path, path.stem, path) / "model.safetensors") for path in (whole, text))
    changed = {name for name, value in aligned.items() if not torch.equal(value, before[name])}
    assert changed and all("layers" in name and "proj" in name for name in changed)
    assert not any("lora" in name for name in changed)
