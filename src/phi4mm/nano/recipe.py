"""nano's recipe: its sizes, its three training stages, and where a run keeps its files.

audio   the audio encoder alone, with a linear head that predicts words
vision  the image tower alone, with a linear head that predicts the words that describe an image
joint   the whole model, on all tasks
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
LONG_FACTOR = (1, 1.56, 2.45, 3.83, 5.98, 9.36, 14.64, 22.9, 32.1, 32.64, 32.71, 33.49)  # 12 of the published 48
SPOKEN_TASKS = world.SPOKEN  # the tasks whose speech is synthesized in advance


@dataclass(frozen=True)
class StagePlan:
    """Steps of a stage, examples per step, peak learning rate, and the step at which the decay ends (0: the last)."""

    steps: int
    batch: int
    rate: float
    decay: int = 0


@dataclass(frozen=True)
class NanoRecipe:
    """All settings of a training of nano.

    folder      keeps the tokenizer, the speech bank and the saved states between runs
    utterances  how many training examples of each spoken task are synthesized in advance
    vocabulary  the largest number of entries of the tokenizer
    """

    folder: Path
    seed: int
    vocabulary: int
    utterances: dict[str, int]
    audio: StagePlan
    vision: StagePlan
    joint: StagePlan

    def plan(self, stage: Stage) -> StagePlan:
        """The plan of a stage."""
        plans: dict[Stage, StagePlan] = {"audio": self.audio, "vision": self.vision, "joint": self.joint}
        return plans[stage]

    def state(self, stage: Stage) -> Path:
        """The file of a stage's saved state."""
        return self.folder / f"{stage}.safetensors"


def check_stages(recipe: NanoRecipe, stages: Sequence[Stage], out: Path | None) -> None:
    """Check before hours of work that every stage will find the states it starts from, and that `out` is free.

    raises  ConfigError when the state of an earlier stage neither exists nor will be made, or `out` is not empty
    """
    available = {stage for stage in STAGES if recipe.state(stage).exists()}
    for stage in stages:
        if stage == "joint":
            _require_states(recipe, ("audio", "vision"), available, "stage joint")
        available.add(stage)
    if out is not None:
        _require_states(recipe, STAGES, available, "writing the model")
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is not an empty folder; choose a new folder for the model")


def _require_states(recipe: NanoRecipe, needed: Sequence[Stage], available: Collection[Stage], what: str) -> None:
    for stage in needed:
        if stage not in available:
            raise ConfigError(f"{what} needs {recipe.state(stage)}; run stage {stage} first")


def nano_config(tokenizer: Tokenizer) -> Phi4MMConfig:
    """nano's configuration. The vocabulary size is that of the tokenizer, rounded up to a multiple of 64."""
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
