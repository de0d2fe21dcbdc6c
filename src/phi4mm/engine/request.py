"""One request while it runs: plain data, no torch.

WAITING --admitted--> RUNNING --last token, abort or error--> FINISHED
WAITING <--preempted-- RUNNING, and any state --abort--> FINISHED

V vocabulary.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from phi4mm.engine.encoder_cache import MediaKey
from phi4mm.errors import EngineError
from phi4mm.protocol.inputs import Prompt
from phi4mm.protocol.response import TokenLogprobs
from phi4mm.protocol.sampling import SamplingParams

EndReason: TypeAlias = Literal["stop", "length", "abort", "error"]


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

    constraint  what the answer must look like
    after       a request with the same prompt, whose pages this one waits for instead of computing them too
    cached      tokens whose keys and values are in `pages`
    long        whether they were rotated with the long factors
    pages       page numbers in order; the last may be partly empty
    nodes       for each full page that the pool knows, its place in the tree of prefixes
    media       keys of the encoder rows that it holds, while its prefill needs them
    """

    id: str
    prompt: Prompt
    params: SamplingParams
    constraint: Constraint | None = None
    after: Request | None = None
    answer: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    cached: int = 0
    long: bool = False
    pages: list[int] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    media: set[MediaKey] = field(default_factory=set)
    guesses: Guesses = field(default_factory=Guesses)
    state: State = State.WAITING
    end_reason: EndReason | None = None
    error: EngineError | None = None

    @property
    def length(self) -> int:
        """Tokens of prompt and answer."""
        return len(self.prompt.ids) + len(self.answer)

    def tokens(self, start: int, end: int) -> list[int]:
        """Ids [start, end) of prompt and answer together."""
        split = len(self.prompt.ids)
        return [*self.prompt.ids[start:end], *self.answer[max(start - split, 0) : max(end - split, 0)]]
