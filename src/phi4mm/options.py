"""What a person may choose: how to sample, and on what to run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from phi4mm.errors import ConfigError, InputError
from phi4mm.prompt import Adapter

Modalities: TypeAlias = Literal["all", "text", "vision", "speech"]
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
MAX_STOP_STRINGS = 64
MAX_STOP_LENGTH = 1024
MAX_ANSWERS = 16
MAX_LOGPROBS = 20
CACHE_DTYPES = ("auto", "int8")
MAX_REGEX = 4096  # characters
MAX_CHOICES = 1024
MAX_CHOICE_LENGTH = 1024


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
    n                   answers to the one prompt, answer i drawn with seed + i; they share its keys and values
    logprobs            report each token's log-probability and this many likeliest alternatives, before any penalty
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
    n: int = 1
    logprobs: int | None = None

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
        _integer("n", self.n, 1, MAX_ANSWERS)
        if self.logprobs is not None:
            _integer("logprobs", self.logprobs, 0, MAX_LOGPROBS)
        _stop_strings(self.stop)


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
        _one_of("cache_dtype", self.cache_dtype, CACHE_DTYPES)
        bounds = {"max_rows": (1, 4096), "chunk_tokens": (2, 2**20), "max_queue": (1, 2**20), "page_tokens": (1, 4096)}
        bounds["draft_tokens"] = (0, 64)
        if self.cache_bytes is not None:
            bounds["cache_bytes"] = (1, 2**50)
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ConfigError(f"{name} is {value!r}; expected a whole number from {low} to {high}")
        if self.chunk_tokens <= self.max_rows:
            raise ConfigError(
                f"chunk_tokens is {self.chunk_tokens} and max_rows {self.max_rows}; expected more tokens than rows in a"
                " step, or a step of answers leaves no room for prompts"
            )


@dataclass(frozen=True)
class ResponseFormat:
    """The form that an answer must have; exactly one of three is given.

    schema  a JSON schema; the answer is JSON on one line, spaced as json.dumps does
    regex   a regular expression for the whole answer, without look-around and back references
    choice  the texts to choose from
    """

    schema: dict[str, Any] | None = None
    regex: str | None = None
    choice: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("schema", "regex", "choice") if getattr(self, name) is not None]
        if len(given) != 1:
            raise InputError(
                f"a response format has {' and '.join(given) or 'nothing'}; expected one of schema, regex, choice"
            )
        if self.schema is not None and not isinstance(self.schema, dict):
            raise InputError(f"schema is {type(self.schema).__name__}; expected a JSON object, as a dict")
        if self.regex is not None:
            _text("regex", self.regex, MAX_REGEX)
            if (len(self.regex) - len(self.regex.rstrip("\\"))) % 2:
                raise InputError("regex ends in a lone backslash; expected a character after it")
        if self.choice is not None:
            if not isinstance(self.choice, tuple) or not 1 <= len(self.choice) <= MAX_CHOICES:
                found = f"{len(self.choice)} texts" if isinstance(self.choice, tuple) else type(self.choice).__name__
                raise InputError(f"choice is {found}; expected a tuple of 1 to {MAX_CHOICES} texts")
            for text in self.choice:
                _text("a choice", text, MAX_CHOICE_LENGTH)


@dataclass(frozen=True)
class EngineConfig:
    """What was asked for: where and how precisely to run, which parts to load and quantize, and how much at once."""

    device: str = "auto"
    dtype: str = "auto"
    modalities: Modalities = "all"
    quantize: Quantization | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        _one_of("device", self.device.split(":")[0], DEVICES)
        _one_of("dtype", self.dtype, DTYPES)
        _one_of("modalities", self.modalities, tuple(MODALITIES))
        if self.quantize is not None:
            _one_of("quantize", self.quantize, QUANTIZATIONS)


@dataclass(frozen=True)
class ResolvedEngineConfig:
    """What runs, with the reason for each choice that was left to phi4mm."""

    device: str
    dtype: str
    adapters: tuple[Adapter, ...]
    reasons: tuple[str, ...]
    quantize: Quantization | None = None
    limits: Limits = field(default_factory=Limits)


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


def _text(name: str, value: object, most: int) -> None:
    if not isinstance(value, str):
        raise InputError(f"{name} is {type(value).__name__}; expected text")
    if not 1 <= len(value) <= most:
        raise InputError(f"{name} has {len(value)} characters; expected 1 to {most}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InputError(f"{name} holds a lone surrogate; decode it as UTF-8 before it comes here")
