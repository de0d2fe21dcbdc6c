"""What a person may choose: how to sample, and on what to run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from phi4mm.errors import ConfigError, InputError
from phi4mm.prompt import Adapter

Modalities: TypeAlias = Literal["all", "text", "vision", "speech"]
DEVICES = ("auto", "cpu", "cuda")
DTYPES = ("auto", "float32", "bfloat16", "float16")
MODALITIES: dict[str, tuple[Adapter, ...]] = {
    "all": ("vision", "speech"),
    "text": (),
    "vision": ("vision",),
    "speech": ("speech",),
}
MAX_STOP_STRINGS = 64
MAX_STOP_LENGTH = 1024


@dataclass(frozen=True)
class SamplingParams:
    """How the next token is chosen. The defaults are greedy.

    temperature         0 takes the most likely token; otherwise logits are divided by it
    top_k               keep the k most likely tokens; 0 keeps all
    top_p               keep the smallest set of tokens whose probability reaches p
    min_p               drop tokens less likely than p times the most likely one
    repetition_penalty  divide positive and multiply negative logits of tokens seen in prompt or answer (CTRL)
    presence_penalty    subtract once from tokens of the answer so far
    frequency_penalty   subtract for each time a token stands in the answer so far
    stop                strings that end the answer; they are not part of it
    seed                of this request's own random numbers; None draws one
    max_tokens          most tokens to generate
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    max_tokens: int = 1000

    def __post_init__(self) -> None:
        _number("temperature", self.temperature, 0.0, 100.0)
        _integer("top_k", self.top_k, 0, 2**31)
        _number("top_p", self.top_p, 0.0, 1.0, above=True)
        _number("min_p", self.min_p, 0.0, 1.0)
        _number("repetition_penalty", self.repetition_penalty, 0.0, 100.0, above=True)
        _number("presence_penalty", self.presence_penalty, -100.0, 100.0)
        _number("frequency_penalty", self.frequency_penalty, -100.0, 100.0)
        _integer("max_tokens", self.max_tokens, 1, 2**31)
        if self.seed is not None:
            _integer("seed", self.seed, 0, 2**63 - 1)
        _stop_strings(self.stop)


@dataclass(frozen=True)
class EngineConfig:
    """What was asked for: where and in which precision to run, and which parts to load."""

    device: str = "auto"
    dtype: str = "auto"
    modalities: Modalities = "all"

    def __post_init__(self) -> None:
        _one_of("device", self.device.split(":")[0], DEVICES)
        _one_of("dtype", self.dtype, DTYPES)
        _one_of("modalities", self.modalities, tuple(MODALITIES))


@dataclass(frozen=True)
class ResolvedEngineConfig:
    """What runs, with the reason for each choice that was left to phi4mm."""

    device: str
    dtype: str
    adapters: tuple[Adapter, ...]
    reasons: tuple[str, ...]


def _number(name: str, value: object, low: float, high: float, *, above: bool = False) -> None:
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not real or not math.isfinite(value) or not low <= value <= high or (above and value == low):  # type: ignore[arg-type, operator]
        bounds = f"{'above' if above else 'from'} {low:g} {'up to' if above else 'to'} {high:g}"
        raise InputError(f"{name} is {value!r}; expected a number {bounds}")


def _integer(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(f"{name} is {value!r}; expected a whole number from {low} to {high}")


def _stop_strings(stop: object) -> None:
    if not isinstance(stop, tuple) or not all(isinstance(s, str) for s in stop):
        raise InputError(f"stop is {type(stop).__name__}; expected a tuple of strings")
    if len(stop) > MAX_STOP_STRINGS:
        raise InputError(f"stop has {len(stop)} strings; at most {MAX_STOP_STRINGS} are allowed")
    for text in stop:
        if not text or len(text) > MAX_STOP_LENGTH:
            raise InputError(f"a stop string has {len(text)} characters; expected 1 to {MAX_STOP_LENGTH}")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(allowed)}")
