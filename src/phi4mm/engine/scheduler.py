"""Who runs in the next step, and what came of it: plain Python, no torch.

Every running row gets one token a step; waiting rows join, whole, as long as the step stays small. (Pages, chunked
prefill and preemption belong to a later engine; the borders are already here.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from phi4mm.engine.request import EndReason, Request, State

MAX_ROWS = 64  # rows in one step
PREFILL_TOKENS = 4096  # prompt tokens that may join in one step; a longer prompt joins alone


@dataclass(frozen=True)
class Chunk:
    """One row's share of a step: tokens [start, end) of the request; `start` 0 means its cache begins anew."""

    request: Request
    start: int
    end: int
    long: bool


@dataclass(frozen=True)
class StepOutput:
    """What a step did for one request: its new token, if any, and why it ended, if it did."""

    request: Request
    token: int | None
    end_reason: EndReason | None


class Scheduler:
    """First come, first served. `plan` and `commit` alternate."""

    def __init__(self, *, switch: int, context: int, eos_ids: Sequence[int]) -> None:
        """switch: rows longer than this run with the long factors; context: the longest row there can be."""
        self._switch = switch
        self._context = context
        self._eos_ids = frozenset(eos_ids)
        self._waiting: deque[Request] = deque()
        self._running: list[Request] = []

    @property
    def busy(self) -> bool:
        """Whether any request is waiting or running."""
        return bool(self._waiting or self._running)

    def add(self, request: Request) -> None:
        """Queue a request behind those that came before."""
        self._waiting.append(request)

    def plan(self) -> tuple[Chunk, ...]:
        """Admit what fits and give every running row its next tokens. Marks rows that begin anew past the switch."""
        joined = 0
        while self._waiting and len(self._running) < MAX_ROWS:
            length = self._waiting[0].length
            if joined and joined + length > PREFILL_TOKENS:
                break
            request = self._waiting.popleft()
            request.state = State.RUNNING
            self._running.append(request)
            joined += length
        return tuple(self._chunk(request) for request in self._running)

    def commit(self, plan: Sequence[Chunk], tokens: Sequence[int | None]) -> list[StepOutput]:
        """Append each row's token; None means the row failed and `request.error` says why."""
        outputs = []
        for chunk, token in zip(plan, tokens, strict=True):
            request = chunk.request
            if token is None:
                reason: EndReason | None = "error"
            else:
                request.cached, request.long = chunk.end, chunk.long
                request.answer.append(token)
                reason = self._end_reason(request, token)
            if reason is not None:
                self.finish(request, reason)
            outputs.append(StepOutput(request, token, reason))
        return outputs

    def finish(self, request: Request, reason: EndReason) -> None:
        """End a request, wherever it stands."""
        if request.state is State.WAITING:
            self._waiting.remove(request)
        elif request.state is State.RUNNING:
            self._running.remove(request)
        request.state, request.end_reason = State.FINISHED, reason

    def _chunk(self, request: Request) -> Chunk:
        """Past the switch every key must be rotated anew, so a row that crosses it begins at token 0 again."""
        long = request.length > self._switch
        start = request.cached if long == request.long else 0
        return Chunk(request, start, request.length, long)

    def _end_reason(self, request: Request, token: int) -> EndReason | None:
        if token in self._eos_ids:
            return "stop"
        if len(request.answer) >= request.params.max_tokens or request.length >= self._context:
            return "length"
        return None
