"""Recipes: mistakes must be reported before hours of work."""

from __future__ import annotations

from pathlib import Path

import pytest

from phi4mm.errors import ConfigError
from phi4mm.nano.recipe import RECIPE, NanoRecipe, RunFolder, check_run, read_recipe
from phi4mm.nano.stages import new_model
from phi4mm.nano.synth import world

SMALL = """
seed = 3
vocabulary = 512
utterances = { transcribe = 40 }
passages = { en = 1 }
[[stages]]
name = "text"
goal = "answers"
train = ["model.text.layers"]
steps = 2
rate = 1e-3
tokens = 200
tasks = { chat = 3, copy = 1 }
[[stages]]
name = "speech"
goal = "answers"
begin = ["text"]
adapters = ["speech"]
steps = 2
rate = 1e-3
tokens = 100
pool = 2
tasks = { transcribe = 1 }
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_recipe_that_ships_can_be_read_and_trains_every_task() -> None:
    """Prevents a recipe that `phi4mm train nano` refuses, and a task that is scored and never trained."""
    recipe = read_recipe(RECIPE)
    trained = {task for stage in recipe.stages for task in stage.tasks}
    assert trained <= set(world.ALL_TASKS)
    assert recipe.vocabulary == 4096


def test_a_recipe_holds_the_values_of_the_file(tmp_path: Path) -> None:
    """Prevents an optional key that is read and not used."""
    recipe = read_recipe(written(tmp_path, SMALL))
    text, speech = recipe.stages
    assert (recipe.seed, recipe.vocabulary, recipe.utterances, recipe.passages) == (
        3,
        512,
        {"transcribe": 40},
        {"en": 1},
    )
    assert (text.goal, text.begin, text.tokens, text.pool) == ("answers", (), 200, 1)
    assert dict(text.tasks) == {"chat": 3, "copy": 1} and text.training.train == ("model.text.layers",)
    assert (speech.begin, speech.pool, speech.training.adapters) == (("text",), 2, ("speech",))
    assert recipe.stage("speech") is speech


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 3", "sead = 3", "seed is missing; found sead instead"),
        ("pool = 2", "momentum = 2", "unknown key momentum"),
        ("tokens = 100", "tokens = 0", "tokens is 0; expected a whole number from 1"),
        ("[[stages]]", "[[stages]", "cannot be read as TOML"),
        ('goal = "answers"', 'goal = "answer"', "goal is 'answer'; expected one of answers, transcripts, shown"),
        ('begin = ["text"]', 'begin = ["txet"]', "stage speech begins with 'txet'; did you mean text?"),
        ('name = "speech"', 'name = "text"', "a stage is named 'text'; expected a new name"),
        ('name = "speech"', 'name = "../speech"', "a stage is named '../speech'; expected a new name"),
        ("{ chat = 3", "{ chta = 3", "no task is called 'chta'; did you mean chat?"),
        ('train = ["model.text.layers"]', "", "nothing learns"),
        ('adapters = ["speech"]', 'adapters = "speech"', "adapters is 'speech'; expected a list of strings"),
        ("pool = 2", "shape = 'square'", "shape is 'square'; expected one of cosine, linear, constant"),
        ("pool = 2", "checkpointing = 1", "checkpointing is 1; expected true or false"),
        (
            'goal = "answers"\nbegin',
            'goal = "rewards"\nalignment = { adapter = "speech", scored_by = "text" }\nbegin',
            "stage speech: scored_by is 'text'; it begins with no stage of goal `scores`",
        ),
    ],
)
def test_a_mistake_is_reported_with_its_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Prevents a misspelt key or name from being ignored, and a state from being written elsewhere."""
    assert old in SMALL
    with pytest.raises(ConfigError, match=message.replace("?", r"\?").replace("../", r"\.\./")):
        read_recipe(written(tmp_path, SMALL.replace(old, new, 1)))


@pytest.fixture
def small(tmp_path: Path) -> NanoRecipe:
    return read_recipe(written(tmp_path, SMALL))


def test_the_states_that_a_stage_needs_are_checked_before_any_work(small: NanoRecipe, tmp_path: Path) -> None:
    """Prevents hours of synthesis and training that end with a missing file."""
    folder = RunFolder(tmp_path / "run")
    check_run(small, folder, small.stages, tmp_path / "new")
    with pytest.raises(ConfigError, match=r"stage speech needs .*text\.safetensors; run stage text first"):
        check_run(small, folder, small.stages[1:], None)
    with pytest.raises(ConfigError, match=r"writing the model needs .*speech\.safetensors; run stage speech first"):
        check_run(small, folder, small.stages[:1], tmp_path / "new")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ConfigError, match="full is not an empty folder"):
        check_run(small, folder, small.stages, tmp_path / "full")


def test_every_parameter_that_inference_reads_is_trained_by_a_stage_of_the_recipe(
    folder: RunFolder, recipe: NanoRecipe
) -> None:
    """Prevents a projection or an adapter that ships as it was at the start."""
    names = {f"model.{name}" for name, _ in new_model(recipe, folder).named_parameters()}
    trained: set[str] = set()
    for stage in read_recipe(RECIPE).stages:
        prefixes = [prefix for prefix in stage.training.train if prefix.startswith("model.")]
        for prefix in prefixes:
            found = {name for name in names if name.startswith(prefix) and ".lora_" not in name}
            assert found, f"stage {stage.name}: {prefix}"
            trained |= found
        trained |= {name for name in names if name.endswith(tuple(f".{name}" for name in stage.training.adapters))}
    assert names - trained == set()
