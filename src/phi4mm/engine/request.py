"""One answer while it runs: plain data, no torch.

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
from phi4mm.engine.messages import EndReason
from phi4mm.errors import PhiError
from phi4mm.processing.detokenizer import TextStream
from phi4mm.protocol.inputs import Adapter, AudioProjection, MediaSpan, Prompt
from phi4mm.protocol.response import TokenLogprobs
from phi4mm.protocol.sampling import SamplingParams


class State(enum.Enum):
    """Where a request stands."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


class Constraint(Protocol):
    """What an answer may hold, token by token: one object a request, kept through preemption."""

    def mask(self) -> npt.NDArray[np.int32] | None:
        """(ceil(V / 32),) int32: bit i % 32 of word i // 32 is 1 where token i may come next; None allows all."""

    def accept(self, token: int) -> None:
        """Move on by the token that was chosen."""

    def fork(self) -> Constraint:
        """The same state for another answer."""


@dataclass(frozen=True)
class Sampled:
    """What one row's logits came to. `logprobs` only where the request asked for them."""

    token: int
    logprobs: TokenLogprobs | None = None


@dataclass(eq=False)
class Guesses:
    """What a row's next tokens are guessed from.

    after  where the row went on after its last tokens of that kind (speculative.py); the first `seen` tokens are in it
    made   tokens guessed so far, `right` those of them that the model chose
    """

    after: dict[tuple[int, ...], int] = field(default_factory=dict)
    seen: int = 0
    made: int = 0
    right: int = 0


@dataclass(eq=False)
class Request:
    """A prompt, how to sample, and the answer so far.

    adapter     the adapter's name, and which of those that ever had this name
    epoch       of the weights that the model had when it came
    group       id of its EngineRequest; `index` says which of the answers to that
    constraint  what the answer must look like
    stop        finds the strings that end the answer; None where there are none
    arrival     its place in the order of arrival
    cached      tokens whose keys and values are in `pages`
    long        whether they were rotated with the long factors
    pages       page numbers in order; the last may be partly empty
    nodes       for each full page that the pool knows, its place in the tree of prefixes
    media       keys of the encoder rows that it holds, while its prefill needs them
    found       prompt tokens that were cached already when it first joined; None before
    media_found for each medium that it needed, whether its encoder rows were there
    """

    id: str
    prompt: Prompt
    params: SamplingParams
    adapter: Adapter | None = None
    version: int = 0
    epoch: int = 0
    group: str = ""
    index: int = 0
    constraint: Constraint | None = None
    stop: TextStream | None = None
    arrival: int = 0
    answer: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    cached: int = 0
    long: bool = False
    pages: list[int] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    media: set[MediaKey] = field(default_factory=set)
    found: int | None = None
    media_found: dict[MediaKey, bool] = field(default_factory=dict)
    guesses: Guesses = field(default_factory=Guesses)
    state: State = State.WAITING
    end_reason: EndReason | None = None
    error: PhiError | None = None

    def __post_init__(self) -> None:
        self.projection: AudioProjection = self.prompt.audio_projection

    @property
    def length(self) -> int:
        """Tokens of prompt and answer."""
        return len(self.prompt.ids) + len(self.answer)

    def media_key(self, span: MediaSpan) -> MediaKey:
        """By what a medium's encoder rows are found; the projection counts for audio alone."""
        return span.digest, span.kind, self.projection if span.kind == "audio" else None, self.epoch

    def tokens(self, start: int, end: int) -> list[int]:
        """Ids [start, end) of prompt and answer together."""
        split = len(self.prompt.ids)
        return [*self.prompt.ids[start:end], *self.answer[max(start - split, 0) : max(end - split, 0)]]
