"""nano's recipe: its sizes, its three stages, and where a run keeps what it makes.

audio   the audio encoder alone, with a head on words
vision  the image tower alone, with a head on the words that describe an image
joint   everything together, on all tasks
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from phi4mm.config.model import AdapterConfig, AudioConfig, Phi4MMConfig, RopeConfig, TextConfig, VisionConfig
from phi4mm.errors import ConfigError
from phi4mm.nano.batches import CONTEXT, IMAGES
from phi4mm.nano.synth import world
from phi4mm.processing.tokenizer import Special, Tokenizer

Stage: TypeAlias = Literal["audio", "vision", "joint"]
STAGES: tuple[Stage, ...] = get_args(Stage)
LONG_FACTOR = (1, 1.56, 2.45, 3.83, 5.98, 9.36, 14.64, 22.9, 32.1, 32.64, 32.71, 33.49)  # thinned from the published 48
SPOKEN_TASKS = world.SPOKEN  # the tasks whose texts are spoken in advance


@dataclass(frozen=True)
class StagePlan:
    """Steps of a stage, examples a step, its highest learning rate, and the step at which that has decayed."""

    steps: int
    batch: int
    rate: float
    decay: int = 0


@dataclass(frozen=True)
class NanoRecipe:
    """Everything that decides what nano becomes, but for the code itself.

    folder      where tokenizer, speech and states are kept between runs
    utterances  training examples of each spoken task that are spoken in advance
    vocabulary  most entries of the tokenizer
    """

    folder: Path
    seed: int
    vocabulary: int
    utterances: dict[world.Task, int]
    audio: StagePlan
    vision: StagePlan
    joint: StagePlan

    def plan(self, stage: Stage) -> StagePlan:
        """The plan of a stage."""
        plans: dict[Stage, StagePlan] = {"audio": self.audio, "vision": self.vision, "joint": self.joint}
        return plans[stage]

    def state(self, stage: Stage) -> Path:
        """Where a stage keeps its state."""
        return self.folder / f"{stage}.safetensors"


def check_stages(recipe: NanoRecipe, stages: Sequence[Stage], out: Path | None) -> None:
    """Look before hours of work whether every stage will find what it starts from, and `out` be free for the model.

    raises  ConfigError when the state of a stage before is neither there nor about to be made, or `out` is not empty
    """
    there = {stage for stage in STAGES if recipe.state(stage).exists()}
    for stage in stages:
        if stage == "joint":
            _check_there(recipe, ("audio", "vision"), there, "stage joint")
        there.add(stage)
    if out is not None:
        _check_there(recipe, STAGES, there, "the model to be written")
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is not an empty folder; name a new one for the model")


def _check_there(recipe: NanoRecipe, needed: Sequence[Stage], there: Collection[Stage], what: str) -> None:
    for stage in needed:
        if stage not in there:
            raise ConfigError(f"{what} needs {recipe.state(stage)}; run stage {stage} first")


def nano_config(tokenizer: Tokenizer) -> Phi4MMConfig:
    """nano's sizes. Its vocabulary is the tokenizer's, rounded up to a multiple of 64."""
    endoftext = tokenizer.id(Special.ENDOFTEXT)
    rope = RopeConfig(10000.0, 24, (1.0,) * 12, LONG_FACTOR, original_max_positions=CONTEXT, max_positions=16384)
    return Phi4MMConfig(
        text=TextConfig(
            vocab_size=-(-tokenizer.size // 64) * 64, hidden_size=192, intermediate_size=384, num_layers=4, num_heads=6,
            num_kv_heads=2, rms_norm_eps=1e-5, rope=rope,
        ),
        vision=VisionConfig(
            hidden_size=128, intermediate_size=384, num_layers=5, num_heads=4, image_size=IMAGES.crop_size,
            patch_size=IMAGES.patch_size,
        ),
        audio=AudioConfig(
            hidden_size=160, intermediate_size=320, num_blocks=4, num_heads=4, input_size=80, conv_channels=64,
            kernel_size=15, bias_max_distance=500,
        ),
        vision_lora=AdapterConfig(rank=16, alpha=32, dropout=0.0),
        speech_lora=AdapterConfig(rank=16, alpha=32, dropout=0.0),
        bos_token_id=endoftext, eos_token_ids=(endoftext,), pad_token_id=endoftext, dtype="bfloat16", layout="original",
    )  # fmt: skip
