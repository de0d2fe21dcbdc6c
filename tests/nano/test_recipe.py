"""Recipes: mistakes must be reported before hours of work."""

from __future__ import annotations

from pathlib import Path

import pytest

from phi4mm.cli.main import main
from phi4mm.cli.train import read_recipe
from phi4mm.errors import ConfigError
from phi4mm.nano.recipe import NanoRecipe, StagePlan, check_stages
from phi4mm.nano.stages import train_stage

RECIPE = Path(__file__).parents[2] / "bench" / "nano.toml"


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = RECIPE.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "recipe.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_the_recipe_of_the_repository_can_be_read() -> None:
    """Prevents a recipe in the repository that `phi4mm train` refuses."""
    recipe = read_recipe(RECIPE)
    assert recipe.folder.resolve() == RECIPE.parents[1] / "runs" / "nano"
    assert set(recipe.utterances) == {"transcribe", "spoken_scene", "spoken_chat"}
    assert recipe.audio.batch == 16


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 0", "sead = 0", "seed is missing; found sead instead"),
        ("[audio]", "[audio]\nmomentum = 1", "unknown key momentum"),
        ("batch = 16", "batch = 0", "batch is 0; expected a whole number from 1"),
        ("[utterances]", "[utterances", "cannot be read as TOML"),
        ("[audio]", "[hear]", r"\[hear\] is called \[audio\] now"),
        ("[vision]", "[look]", r"\[look\] is called \[vision\] now"),
        ("[joint]", "[join]", r"\[join\] is called \[joint\] now"),
    ],
)
def test_a_mistake_is_reported_with_its_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Prevents a misspelt key from being ignored."""
    with pytest.raises(ConfigError, match=message):
        read_recipe(changed(tmp_path, old, new))


def test_joint_training_before_the_other_stages_names_the_stage_to_run(recipe: NanoRecipe) -> None:
    """Prevents an hour of joint training on random encoders."""
    with pytest.raises(ConfigError, match="run stage audio first"):
        train_stage(recipe, "joint", resume=False)


def test_a_stage_plan_holds_the_values_of_the_file(tmp_path: Path) -> None:
    """Prevents an optional key that is read and not used."""
    path = changed(tmp_path, "[vision]", "[vision]\ndecay = 123")
    assert read_recipe(path).vision == StagePlan(2700, 32, 1.5e-3, 123)


def test_the_states_that_a_stage_needs_are_checked_before_any_work(recipe: NanoRecipe, tmp_path: Path) -> None:
    """Prevents hours of synthesis and training that end with a missing file."""
    check_stages(recipe, ("audio", "vision", "joint"), tmp_path / "new")
    with pytest.raises(ConfigError, match=r"writing the model needs .*audio\.safetensors; run stage audio first"):
        check_stages(recipe, ("vision",), tmp_path / "new")
    with pytest.raises(ConfigError, match=r"stage joint needs .*run stage audio first"):
        check_stages(recipe, ("joint", "audio", "vision"), None)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ConfigError, match="full is not an empty folder"):
        check_stages(recipe, ("audio", "vision", "joint"), tmp_path / "full")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hear", "it is called audio now"),
        ("visoin", "did you mean vision?"),
        ("x", "one of audio, vision, joint"),
    ],
)
def test_an_unknown_stage_is_refused_with_the_right_name(
    name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prevents a command written for version 0.1 from failing without an explanation."""
    assert main(["train", "nano", str(RECIPE), "--stage", name]) == 1
    assert message in capsys.readouterr().err
