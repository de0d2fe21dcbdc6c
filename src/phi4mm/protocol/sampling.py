"""Sampling parameters: how the next token is chosen, and when an answer ends."""

from __future__ import annotations

import numbers
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

from phi4mm.config.validate import integer, nearest, number, shown, text
from phi4mm.errors import InputError

MAX_STOP_STRINGS = 64
MAX_STOP_LENGTH = 1024
MAX_ANSWERS = 16
MAX_LOGPROBS = 20
MAX_BIASED = 300  # tokens with a bias: all are added for each token of the answer, and kept with each request


@dataclass(frozen=True)
class SamplingParams:
    """How the next token is chosen, and when an answer ends. The defaults are greedy.

    temperature         0 takes the most likely token; otherwise logits are divided by it
    top_k               keep the k most likely tokens; 0 keeps all
    top_p               keep the smallest set of tokens whose probability reaches p
    min_p               drop tokens less likely than p times the most likely one
    repetition_penalty  divide positive and multiply negative logits of tokens that occur in prompt or answer (CTRL)
    presence_penalty    subtract once from the logits of tokens of the answer so far
    frequency_penalty   subtract for each occurrence of a token in the answer so far
    logit_bias          (token id, what to add to its logit) before penalties and temperature; -100 to 100, where -100
                        bans a token and 100 forces it. A dict, a list or None is made a tuple. A grammar wins over it
    stop                strings that end the answer; they are not part of it. One string, a list or None is made a tuple
    seed                of this request's random generator; None takes a random one
    max_tokens          the largest number of tokens to generate
    n                   number of answers to the prompt; answer i uses seed + i; they share the prompt's keys and values
    logprobs            report each token's log-probability and this many most likely tokens, before bias and penalties
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    stop: tuple[str, ...] = ()
    seed: int | None = None
    max_tokens: int = 1000
    n: int = 1
    logprobs: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, numbers.Real) and not isinstance(value, (int, float)):  # of NumPy
                plain = int(value) if isinstance(value, numbers.Integral) else float(value)
                object.__setattr__(self, field.name, plain)
        number("temperature", self.temperature, 0.0, 100.0)
        integer("top_k", self.top_k, 0, 2**31)
        number("top_p", self.top_p, 0.0, 1.0, above=True)
        number("min_p", self.min_p, 0.0, 1.0)
        number("repetition_penalty", self.repetition_penalty, 0.0, 100.0, above=True)
        number("presence_penalty", self.presence_penalty, -100.0, 100.0)
        number("frequency_penalty", self.frequency_penalty, -100.0, 100.0)
        bias: object = self.logit_bias
        bias = tuple(bias.items()) if isinstance(bias, Mapping) else bias
        bias = tuple(bias or ()) if isinstance(bias, (list, type(None))) else bias
        object.__setattr__(self, "logit_bias", bias)
        _biases(bias)
        integer("max_tokens", self.max_tokens, 1, 2**31)
        if self.seed is not None:
            integer("seed", self.seed, 0, 2**63 - 1)
        integer("n", self.n, 1, MAX_ANSWERS)
        if self.logprobs is not None:
            integer("logprobs", self.logprobs, 0, MAX_LOGPROBS)
        stop = (self.stop,) if isinstance(self.stop, str) else self.stop
        object.__setattr__(self, "stop", tuple(stop or ()) if isinstance(stop, (list, type(None))) else stop)
        _stop_strings(self.stop)


def _biases(pairs: object) -> None:
    if not isinstance(pairs, tuple) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise InputError(f"logit_bias is {shown(pairs)}; expected a dict, or a tuple of (token id, bias)")
    if len(pairs) > MAX_BIASED:
        raise InputError(f"logit_bias has {len(pairs)} tokens; at most {MAX_BIASED} are allowed")
    for id, bias in pairs:
        integer("a token id of logit_bias", id, 0, 2**31)
        number(f"the bias of token {id}", bias, -100.0, 100.0)
    if len({id for id, _ in pairs}) < len(pairs):
        raise InputError("logit_bias names a token twice; give each token one bias")


def _stop_strings(stop: object) -> None:
    if not isinstance(stop, tuple) or not all(isinstance(s, str) for s in stop):
        raise InputError(f"stop is {type(stop).__name__}; expected a tuple of strings")
    if len(stop) > MAX_STOP_STRINGS:
        raise InputError(f"stop has {len(stop)} strings; at most {MAX_STOP_STRINGS} are allowed")
    for string in stop:
        text("a stop string", string, MAX_STOP_LENGTH)


GREEDY = SamplingParams()
ParamsInput: TypeAlias = "SamplingParams | Mapping[str, Any] | None"
_FIELDS = {field.name for field in fields(SamplingParams)}


def as_params(params: object, changes: Mapping[str, Any], keywords: Collection[str] = ()) -> SamplingParams:
    """`params`, a dict of their fields, or None for greedy ones; with `changes` to some fields.

    keywords  what else the caller takes, for the hint in an error
    raises    InputError
    """
    if isinstance(params, Mapping):
        return as_params(None, {**params, **changes}, keywords)
    if params is not None and not isinstance(params, SamplingParams):
        raise InputError(f"params is {shown(params)}; expected phi4mm.SamplingParams, or a dict of its fields")
    for name in changes:
        if name not in _FIELDS:
            raise InputError(f"unknown keyword {name!s:.60}; {nearest(str(name), sorted({*_FIELDS, *keywords}))}")
    return replace(params or GREEDY, **changes)
