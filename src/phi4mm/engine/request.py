"""The state of one answer while it runs: plain data, no torch.

WAITING --admitted--> RUNNING --last token, abort or error--> FINISHED
WAITING <--preempted-- RUNNING, and any state --abort--> FINISHED

V vocabulary.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from phi4mm.engine.encoder_cache import MediaKey
from phi4mm.engine.messages import EngineFinishReason
from phi4mm.errors import PhiError
from phi4mm.processing.detokenizer import TextStream
from phi4mm.protocol.inputs import Adapter, AudioProjection, MediaSpan, Prompt
from phi4mm.protocol.response import TokenLogprobs
from phi4mm.protocol.sampling import SamplingParams


class State(enum.Enum):
    """Whether a request waits, runs or has finished."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


class Constraint(Protocol):
    """Which tokens may come next in a structured output. Each answer has its own object, also through preemption."""

    def mask(self) -> npt.NDArray[np.int32] | None:
        """(ceil(V / 32),) int32: bit i % 32 of word i // 32 is 1 where token i may come next; None allows all."""

    def accept(self, token: int) -> None:
        """Advance the grammar's state by the sampled token."""

    def fork(self) -> Constraint:
        """A copy of the state, for another answer to the same request."""


@dataclass(frozen=True)
class Sampled:
    """A sampled token. `logprobs` only if the request asked for them."""

    token: int
    logprobs: TokenLogprobs | None = None


@dataclass(eq=False)
class SpeculativeState:
    """What a sequence's next tokens are proposed from (speculative.py), and how many were accepted.

    ngrams    the end of the latest occurrence of each n-gram of the first `indexed` tokens
    proposed  number of tokens proposed so far; `accepted`: how many of them the model chose too
    """

    ngrams: dict[tuple[int, ...], int] = field(default_factory=dict)
    indexed: int = 0
    proposed: int = 0
    accepted: int = 0


@dataclass(eq=False)
class Request:
    """A prompt, how to sample, and the answer so far.

    adapter     the adapter's name; `version` tells apart adapters that had this name at different times
    weights_version  number of the model's weights when the request arrived
    request_id  id of its EngineRequest; `index` says which of the `n` answers this is
    eos_ids     ids that end the answer; None: those of the scheduler
    constraint  the grammar's state, for structured output
    stop        finds stop strings; None without any
    arrival     number in the order of arrival
    cached      tokens whose keys and values are in `pages`
    long_rope   whether those keys were rotated with the long factors
    pages       page numbers in order; the last may be partly empty
    nodes       for each full page in the prefix cache, its node in the tree of prefixes
    media       keys of the encoder outputs that it holds while its prefill needs them
    prefix_hit  tokens found in the prefix cache when it was first admitted; None before
    media_hits  for each media item that it needed, whether its encoder output was in the cache
    """

    id: str
    prompt: Prompt
    params: SamplingParams
    adapter: Adapter | None = None
    version: int = 0
    weights_version: int = 0
    request_id: str = ""
    index: int = 0
    eos_ids: tuple[int, ...] | None = None
    constraint: Constraint | None = None
    stop: TextStream | None = None
    arrival: int = 0
    answer: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    cached: int = 0
    long_rope: bool = False
    pages: list[int] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    media: set[MediaKey] = field(default_factory=set)
    prefix_hit: int | None = None
    media_hits: dict[MediaKey, bool] = field(default_factory=dict)
    speculative: SpeculativeState = field(default_factory=SpeculativeState)
    state: State = State.WAITING
    finish_reason: EngineFinishReason | None = None
    error: PhiError | None = None

    def __post_init__(self) -> None:
        self.projection: AudioProjection = self.prompt.audio_projection

    @property
    def length(self) -> int:
        """Tokens of prompt and answer."""
        return len(self.prompt.ids) + len(self.answer)

    def media_key(self, span: MediaSpan) -> MediaKey:
        """Key of a media item's encoder output; the projection matters for audio alone."""
        return span.digest, span.kind, self.projection if span.kind == "audio" else None, self.weights_version

    def tokens(self, start: int, end: int) -> list[int]:
        """Ids [start, end) of prompt and answer together."""
        split = len(self.prompt.ids)
        return [*self.prompt.ids[start:end], *self.answer[max(start - split, 0) : max(end - split, 0)]]
