"""On what to run: what is asked for, and what it comes to on a machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from phi4mm.config.validate import integer, one_of
from phi4mm.errors import ConfigError
from phi4mm.protocol.inputs import Adapter

Modalities: TypeAlias = Literal["all", "text", "vision", "speech"]
EngineForm: TypeAlias = Literal["thread", "process", "inline"]
Quantization: TypeAlias = Literal["int8", "int4"]
DEVICES = ("auto", "cpu", "cuda")
DTYPES = ("auto", "float32", "bfloat16", "float16")
QUANTIZATIONS: tuple[Quantization, ...] = ("int8", "int4")
MODALITIES: dict[str, tuple[Adapter, ...]] = {
    "all": ("vision", "speech"),
    "text": (),
    "vision": ("vision",),
    "speech": ("speech",),
}
CACHE_DTYPES = ("auto", "int8")


@dataclass(frozen=True)
class Limits:
    """How much runs side by side, and in how much memory.

    cache_dtype   of keys and values: "auto" is the model's, "int8" has one scale a token and head
    cache_bytes   of keys, values and encoder rows together; None takes half of what is free once the model is loaded
    max_rows      requests in one step
    chunk_tokens  tokens in one step; longer prompts are prefilled over several
    max_queue     requests that may wait
    prefix_cache  whether a prompt takes over the keys and values of an earlier one that began alike
    page_tokens   tokens of one page, the unit in which memory is taken and beginnings are compared
    draft_tokens  most tokens of a greedy answer that are guessed from its own text and checked in one step; 0: none
    raises        ConfigError
    """

    cache_dtype: str = "auto"
    cache_bytes: int | None = None
    max_rows: int = 64
    chunk_tokens: int = 1024
    max_queue: int = 1024
    prefix_cache: bool = True
    page_tokens: int = 32
    draft_tokens: int = 3

    def __post_init__(self) -> None:
        one_of("cache_dtype", self.cache_dtype, CACHE_DTYPES)
        bounds = {"max_rows": (1, 4096), "chunk_tokens": (2, 2**20), "max_queue": (1, 2**20), "page_tokens": (1, 4096)}
        bounds["draft_tokens"] = (0, 64)
        if self.cache_bytes is not None:
            bounds["cache_bytes"] = (1, 2**50)
        for name, (low, high) in bounds.items():
            integer(name, getattr(self, name), low, high, error=ConfigError)
        if self.chunk_tokens <= self.max_rows:
            raise ConfigError(
                f"chunk_tokens is {self.chunk_tokens} and max_rows {self.max_rows}; expected more tokens than rows in a"
                " step, or a step of answers leaves no room for prompts"
            )


@dataclass(frozen=True)
class EngineConfig:
    """What was asked for: where and how precisely to run, which parts to load and quantize, and how much at once."""

    device: str = "auto"
    dtype: str = "auto"
    modalities: Modalities = "all"
    quantize: Quantization | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        one_of("device", self.device.split(":")[0], DEVICES)
        one_of("dtype", self.dtype, DTYPES)
        one_of("modalities", self.modalities, tuple(MODALITIES))
        if self.quantize is not None:
            one_of("quantize", self.quantize, QUANTIZATIONS)


@dataclass(frozen=True)
class ResolvedEngineConfig:
    """What runs, with the reason for each choice that was left to phi4mm."""

    device: str
    dtype: str
    adapters: tuple[Adapter, ...]
    reasons: tuple[str, ...]
    quantize: Quantization | None = None
    limits: Limits = field(default_factory=Limits)
