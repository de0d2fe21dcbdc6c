"""The settings of one training, read strictly from a section of a TOML file: what learns, how long, and how fast."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from phi4mm.config.fields import Fields
from phi4mm.config.json_file import regular_file_bytes
from phi4mm.config.validate import one_of
from phi4mm.errors import ConfigError
from phi4mm.training.optimizers import SHAPES, Schedule, Shape

MAX_CONFIG_BYTES = 2**20
OptimizerName: TypeAlias = Literal["adamw", "muon"]
OPTIMIZERS: tuple[OptimizerName, ...] = ("adamw", "muon")


@dataclass(frozen=True)
class TrainingConfig:
    """What one training does, whatever its objective.

    steps          optimizer steps
    rate           peak learning rate
    warm_up        steps in which the rate rises to it
    shape          of the decay that follows: cosine, linear or constant
    floor          where the decay ends, as a factor of the peak
    train          prefixes of the names of the parameters that learn
    adapters       whose LoRA matrices learn
    accumulate     micro batches per step, divided among the processes
    optimizer      adamw, or muon: AdamW with Muon for the matrices of layers
    weight_decay   of the optimizer
    checkpointing  compute the activations of a layer again in the backward pass, to save memory
    """

    steps: int
    rate: float
    warm_up: int = 200
    shape: Shape = "cosine"
    floor: float = 0.05
    train: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()
    accumulate: int = 1
    optimizer: OptimizerName = "adamw"
    weight_decay: float = 0.01
    checkpointing: bool = False

    def __post_init__(self) -> None:
        """Raises ConfigError for an unknown shape or optimizer, or when nothing learns."""
        one_of("shape", self.shape, SHAPES)
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        if not self.train and not self.adapters:
            raise ConfigError("nothing learns: give `train`, prefixes of parameter names, or `adapters`")

    def accumulated_by(self, processes: int) -> int:
        """How many micro batches of a step each process takes. Raises ConfigError when they cannot be divided."""
        if self.accumulate % processes:
            raise ConfigError(f"accumulate is {self.accumulate}, which {processes} processes cannot divide evenly")
        return self.accumulate // processes

    @property
    def schedule(self) -> Schedule:
        """The learning rate of each step."""
        return Schedule(self.steps, self.rate, warm_up=self.warm_up, floor=self.floor, shape=self.shape)


def read_training(fields: Fields) -> TrainingConfig:
    """The settings in a section, which the caller finishes. Raises ConfigError for missing and impossible values."""
    found: dict[str, Any] = {"steps": fields.integer("steps"), "rate": fields.number("rate")}
    for name in ("train", "adapters"):
        if name in fields:
            found[name] = fields.texts(name)
    for name, low in (("warm_up", 0), ("accumulate", 1)):
        if name in fields:
            found[name] = fields.integer(name, low=low)
    for name in ("floor", "weight_decay"):
        if name in fields:
            found[name] = fields.number(name, low=0.0, high=1.0)
    for name in ("shape", "optimizer"):
        if name in fields:
            found[name] = fields.text(name)
    if "checkpointing" in fields:
        found["checkpointing"] = fields.flag("checkpointing")
    return TrainingConfig(**found)


def read_toml(path: Path) -> Fields:
    """The fields of a TOML file. Raises ConfigError for a file that is missing, too large or not TOML."""
    size = regular_file_bytes(path, "a recipe in TOML", ConfigError)
    if size > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path} has {size} bytes; expected a recipe of at most {MAX_CONFIG_BYTES}")
    try:
        return Fields(tomllib.loads(path.read_text(encoding="utf-8")), path.name)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as TOML: {error}") from None
