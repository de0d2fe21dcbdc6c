"""nano's recipe: its sizes, the data that is made in advance, and its training stages, read from a TOML file.

The recipe that ships is recipe.toml beside this file. A stage begins with the weights of earlier stages and trains some
of them further; which ones stands in the recipe.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from phi4mm.config.fields import Fields
from phi4mm.config.model import AdapterConfig, AudioConfig, Phi4MMConfig, RopeConfig, TextConfig, VisionConfig
from phi4mm.config.validate import nearest, one_of, shown
from phi4mm.errors import ConfigError
from phi4mm.model.lora import NAME
from phi4mm.nano.synth import world
from phi4mm.nano.synth.example import LANGUAGES, Language
from phi4mm.processing.image import ImageProcessor
from phi4mm.processing.tokenizer import Special, Tokenizer
from phi4mm.training.config import TrainingConfig, read_toml, read_training

RECIPE = Path(__file__).parent / "recipe.toml"
Goal: TypeAlias = Literal["answers", "transcripts", "shown", "preferences", "scores", "rewards"]
ALIGNED: tuple[Goal, ...] = ("preferences", "scores", "rewards")  # goals that need an adapter to learn
GOALS: tuple[Goal, ...] = get_args(Goal)
IMAGES = ImageProcessor(crop_size=224, patch_size=14, max_crops=36)
ORIGINAL_CONTEXT, CONTEXT = 4096, 32768  # tokens, before and with LongRoPE's long factors
LONG_FACTOR = (1, 1.56, 2.45, 3.83, 5.98, 9.36, 14.64, 22.9, 32.1, 32.64, 32.71, 33.49)  # 12 of the published 48
MIN_VOCABULARY = 300  # 256 bytes, the special tokens, and some merged pairs


@dataclass(frozen=True)
class Alignment:
    """How an adapter is aligned.

    adapter      of the sequences. One that nano does not have is made for the stage, and added to the base weights
                 after it
    beta         of DPO: how strongly the adapter is held to what it was
    answers      of GRPO: how many are drawn for a prompt
    temperature  of GRPO: that they are drawn with
    max_tokens   of GRPO: of an answer
    uses         of GRPO: steps that learn from the same answers
    scored_by    of GRPO: the stage whose reward model scores answers where a worse one is known; "" for none
    """

    adapter: str
    beta: float = 0.1
    answers: int = 8
    temperature: float = 1.0
    max_tokens: int = 64
    uses: int = 1
    scored_by: str = ""


@dataclass(frozen=True)
class Stage:
    """One stage of the training.

    name       its own, and that of its files
    goal       what is learned: `answers`; for an encoder alone `transcripts` (CTC) or `shown` (words that describe an
               image, and printed lines); `preferences` by DPO; `scores` of a reward model; `rewards` by GRPO
    begin      earlier stages whose weights it begins with, in this order
    tasks      the weight with which each task is drawn
    tokens     about how many tokens of text and media each micro batch holds; of GRPO, of the prompts
    pool       micro batches whose examples are sorted by length together: clips of one batch then need little padding
    training   what learns, how long and how fast
    alignment  for the last three goals: the adapter that learns, and how
    """

    name: str
    goal: Goal
    begin: tuple[str, ...]
    tasks: Mapping[str, int]
    tokens: int
    pool: int
    training: TrainingConfig
    alignment: Alignment | None = None


@dataclass(frozen=True)
class NanoRecipe:
    """All settings of a training of nano.

    seed        of the starting weights and of the order of examples
    vocabulary  the largest number of entries of the tokenizer
    utterances  how many training examples of each spoken task are synthesized in advance
    passages    how many passages of each language are synthesized in advance
    stages      in the order in which they run
    """

    seed: int
    vocabulary: int
    utterances: Mapping[str, int]
    passages: Mapping[Language, int]
    stages: tuple[Stage, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of all stages, in the order in which they first come."""
        return tuple(dict.fromkeys(task for stage in self.stages for task in stage.tasks))

    def stage(self, name: str) -> Stage:
        """A stage by its name. Raises ConfigError with the nearest name."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise ConfigError(f"no stage is called {name!r:.40}; {nearest(name, [stage.name for stage in self.stages])}")


@dataclass(frozen=True)
class RunFolder:
    """Where a training keeps its files between runs: tokenizer, speech, and the state of each stage."""

    path: Path

    @property
    def tokenizer(self) -> Path:
        """The tokenizer that the run made."""
        return self.path / "tokenizer.json"

    @property
    def speech(self) -> Path:
        """The folder of the speech bank."""
        return self.path / "speech"

    def state(self, stage: str) -> Path:
        """The saved state of a stage: its trained weights, and what it needs to go on."""
        return self.path / f"{stage}.safetensors"


def read_recipe(path: Path = RECIPE) -> NanoRecipe:
    """Read a recipe. Raises ConfigError for missing, unknown or impossible values."""
    top = read_toml(path)
    stages: list[Stage] = []
    for fields in top.list_of_sections("stages"):
        stages.append(_read_stage(fields, stages))
    utterances, passages = top.section("utterances"), top.section("passages")
    recipe = NanoRecipe(
        seed=top.integer("seed", low=0),
        vocabulary=top.integer("vocabulary", low=MIN_VOCABULARY),
        utterances={task: utterances.integer(task, low=0) for task in utterances.raw},
        passages={language: passages.integer(language, low=0) for language in LANGUAGES if language in passages},
        stages=tuple(stages),
    )
    top.finish(ignored=frozenset())
    return recipe


def _read_stage(fields: Fields, before: Sequence[Stage]) -> Stage:
    earlier = [stage.name for stage in before]
    name, goal = fields.text("name"), fields.text("goal")
    if name in earlier or not name.replace("-", "").isalnum():
        raise ConfigError(f"a stage is named {name!r:.40}; expected a new name of letters, digits and `-`")
    one_of(f"stage {name}: goal", goal, GOALS)
    begin = fields.texts("begin") if "begin" in fields else tuple(earlier)
    for other in begin:
        if other not in earlier:
            raise ConfigError(
                f"stage {name} begins with {other!r:.40}; {nearest(other, earlier) if earlier else 'it is the first'}"
            )
    shares = fields.section("tasks")
    for task in shares.raw:
        if task not in world.ALL_TASKS:
            raise ConfigError(f"stage {name}: no task is called {task!r:.40}; {nearest(task, world.ALL_TASKS)}")
    scorers = [stage.name for stage in before if stage.goal == "scores" and stage.name in begin]
    return Stage(
        name=name,
        goal=next(known for known in GOALS if known == goal),
        begin=begin,
        tasks={task: shares.integer(task) for task in shares.raw},
        tokens=fields.integer("tokens"),
        pool=fields.integer("pool") if "pool" in fields else 1,
        training=read_training(fields),
        alignment=_read_alignment(name, fields, scorers) if goal in ALIGNED else None,
    )


def _read_alignment(stage: str, fields: Fields, scorers: Sequence[str]) -> Alignment:
    section = fields.section("alignment")
    found: dict[str, Any] = {"adapter": section.text("adapter")}
    for name in ("answers", "max_tokens", "uses"):
        if name in section:
            found[name] = section.integer(name)
    for name in ("beta", "temperature"):
        if name in section:
            found[name] = section.number(name, high=10.0)
    if "scored_by" in section:
        found["scored_by"] = section.text("scored_by")
        if found["scored_by"] not in scorers:
            known = nearest(found["scored_by"], scorers) if scorers else "it begins with no stage of goal `scores`"
            raise ConfigError(f"stage {stage}: scored_by is {shown(found['scored_by'])}; {known}")
    if not NAME.fullmatch(found["adapter"]):
        raise ConfigError(f"stage {stage}: adapter is {shown(found['adapter'])}; expected letters, digits, `_` and `-`")
    return Alignment(**found)


def check_run(recipe: NanoRecipe, folder: RunFolder, stages: Sequence[Stage], out: Path | None) -> None:
    """Check before hours of work that every stage will find the weights it begins with, and that `out` is free.

    raises  ConfigError when the state of an earlier stage neither exists nor will be made, or `out` is not empty
    """
    available = {stage.name for stage in recipe.stages if folder.state(stage.name).exists()}
    for stage in stages:
        _require(stage.begin, available, folder, f"stage {stage.name}")
        available.add(stage.name)
    if out is not None:
        _require([stage.name for stage in recipe.stages], available, folder, "writing the model")
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"{out} is not an empty folder; choose a new folder for the model")


def _require(needed: Sequence[str], available: set[str], folder: RunFolder, what: str) -> None:
    for name in needed:
        if name not in available:
            raise ConfigError(f"{what} needs {folder.state(name)}; run stage {name} first")


def default_folder() -> RunFolder:
    """Where `phi4mm train nano` keeps its files when it is not told: runs/nano in the working folder."""
    return RunFolder(Path(os.path.curdir) / "runs" / "nano")


def nano_config(tokenizer: Tokenizer) -> Phi4MMConfig:
    """nano's configuration. The vocabulary size is that of the tokenizer, rounded up to a multiple of 64."""
    endoftext = tokenizer.id(Special.ENDOFTEXT)
    rope = RopeConfig(
        10000.0, 24, (1.0,) * 12, LONG_FACTOR, original_max_positions=ORIGINAL_CONTEXT, max_positions=CONTEXT
    )
    return Phi4MMConfig(
        text=TextConfig(
            vocab_size=-(-tokenizer.size // 64) * 64, hidden_size=256, intermediate_size=640, num_layers=6, num_heads=8,
            num_kv_heads=4, rms_norm_eps=1e-5, rope=rope,
        ),
        vision=VisionConfig(
            hidden_size=160, intermediate_size=480, num_layers=5, num_heads=5, image_size=IMAGES.crop_size,
            patch_size=IMAGES.patch_size,
        ),
        audio=AudioConfig(
            hidden_size=192, intermediate_size=384, num_blocks=5, num_heads=6, input_size=80, conv_channels=64,
            kernel_size=15, bias_max_distance=500,
        ),
        vision_lora=AdapterConfig(rank=16, alpha=32, dropout=0.0),
        speech_lora=AdapterConfig(rank=16, alpha=32, dropout=0.0),
        bos_token_id=endoftext, eos_token_ids=(endoftext,), pad_token_id=endoftext, dtype="bfloat16", layout="original",
    )  # fmt: skip
