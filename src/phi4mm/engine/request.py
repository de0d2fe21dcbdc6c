"""One request while it runs: plain data, no torch.

WAITING --planned--> RUNNING --last token, abort or error--> FINISHED
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from phi4mm.errors import EngineError
from phi4mm.options import SamplingParams
from phi4mm.prompt import Prompt

EndReason: TypeAlias = Literal["stop", "length", "abort", "error"]


class State(enum.Enum):
    """Where a request stands."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(eq=False)
class Request:
    """A prompt, how to sample, and the answer so far.

    cached  tokens whose keys and values are in the row's cache
    long    whether they were rotated with the long factors
    """

    id: str
    prompt: Prompt
    params: SamplingParams
    answer: list[int] = field(default_factory=list)
    cached: int = 0
    long: bool = False
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
