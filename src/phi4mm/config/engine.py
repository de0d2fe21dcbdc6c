"""Settings of the engine as a user gives them, and as they are resolved on a machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias

from phi4mm.config.validate import integer, one_of, refuse_unknown, shown
from phi4mm.errors import ConfigError
from phi4mm.protocol.inputs import Adapter

# A torch.device or a torch.dtype too; this package does not know torch.
Device: TypeAlias = "str | int | Any | None"
DType: TypeAlias = "str | Any | None"
Modalities: TypeAlias = Literal["all", "text", "vision", "speech"]
EngineMode: TypeAlias = Literal["thread", "process", "inline"]
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
KV_CACHE_DTYPES = ("auto", "int8")


@dataclass(frozen=True)
class EngineArgs:
    """How many requests run at once, and in how much memory.

    kv_cache_dtype          dtype of keys and values: "auto" is the model's, "int8" has a scale for each token and head
    kv_cache_bytes          memory for keys, values and encoder outputs; None takes half of what is left after loading
    max_num_seqs            sequences in one step
    max_num_batched_tokens  tokens in one step; longer prompts are prefilled in chunks over several steps
    max_waiting             requests that may wait; one more is refused with CapacityError
    enable_prefix_caching   whether a prompt reuses keys and values of an earlier prompt that began with the same tokens
    page_size               tokens of one page, the unit in which memory is allocated and prefixes are compared
    num_speculative_tokens  most tokens that prompt lookup proposes for a greedy answer in one step; 0 turns it off
    raises                  ConfigError
    """

    kv_cache_dtype: str = "auto"
    kv_cache_bytes: int | None = None
    max_num_seqs: int = 64
    max_num_batched_tokens: int = 1024
    max_waiting: int = 1024
    enable_prefix_caching: bool = True
    page_size: int = 32
    num_speculative_tokens: int = 3

    def __post_init__(self) -> None:
        one_of("kv_cache_dtype", self.kv_cache_dtype, KV_CACHE_DTYPES)
        bounds = {
            "max_num_seqs": (1, 4096),
            "max_num_batched_tokens": (2, 2**20),
            "max_waiting": (1, 2**20),
            "page_size": (1, 4096),
            "num_speculative_tokens": (0, 64),
        }
        if self.kv_cache_bytes is not None:
            bounds["kv_cache_bytes"] = (1, 2**50)
        for name, (low, high) in bounds.items():
            integer(name, getattr(self, name), low, high, error=ConfigError)
        if self.max_num_batched_tokens <= self.max_num_seqs:
            raise ConfigError(
                f"max_num_batched_tokens is {self.max_num_batched_tokens} and max_num_seqs {self.max_num_seqs};"
                " expected more tokens than sequences, so that a step that decodes has room for prompts"
            )


def as_engine_args(given: object) -> EngineArgs:
    """`given` itself, a dict of its fields, or None for the defaults. Raises ConfigError."""
    if isinstance(given, Mapping):
        refuse_unknown("engine_args", map(str, given), [field.name for field in fields(EngineArgs)])
        return EngineArgs(**given)
    if given is not None and not isinstance(given, EngineArgs):
        raise ConfigError(f"engine_args is {shown(given)}; expected phi4mm.EngineArgs, or a dict of its fields")
    return given or EngineArgs()


@dataclass(frozen=True)
class EngineConfig:
    """What the user chose: device, dtype, modalities to load, quantization and engine arguments."""

    device: str = "auto"
    dtype: str = "auto"
    modalities: Modalities = "all"
    quantize: Quantization | None = None
    engine_args: EngineArgs = field(default_factory=EngineArgs)

    def __post_init__(self) -> None:
        one_of("device", self.device.split(":")[0], DEVICES)
        one_of("dtype", self.dtype, DTYPES)
        one_of("modalities", self.modalities, tuple(MODALITIES))
        if self.quantize is not None:
            one_of("quantize", self.quantize, QUANTIZATIONS)


@dataclass(frozen=True)
class ResolvedEngineConfig:
    """The resolved settings, and the reason for each choice that was left to phi4mm."""

    device: str
    dtype: str
    adapters: tuple[Adapter, ...]
    reasons: tuple[str, ...]
    quantize: Quantization | None = None
    engine_args: EngineArgs = field(default_factory=EngineArgs)
