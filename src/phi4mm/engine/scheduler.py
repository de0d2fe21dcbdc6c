"""Who runs in the next step, and what came of it: plain Python, no torch.

The earlier a request came, the more it may have. A step holds one token of every answering row, then chunks of prompts
in order of arrival. Requests join one by one while the step has room. One whose next page is being computed by another
in this step waits for it instead of computing it too. Memory is taken when a row joins, for all its tokens, and page by
page while it answers; when pages run out the youngest row gives up its own and waits, to prefill prompt and answer
again later. The oldest row therefore moves on in every step, and the engine refuses a request that could not finish
alone: nothing waits forever.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from phi4mm.config.engine import Limits
from phi4mm.engine.encoder_cache import MediaCache, MediaKey
from phi4mm.engine.kv_pages import PagePool, page_content
from phi4mm.engine.messages import EndReason
from phi4mm.engine.request import Request, Sampled, State
from phi4mm.engine.speculative import draft
from phi4mm.errors import CapacityError
from phi4mm.protocol.inputs import MediaSpan

DRAFTED_STEP = 8  # answering tokens and guesses of a step together: with more, reading weights is not what it waits for


@dataclass(frozen=True)
class Chunk:
    """One row's share of a step: tokens [start, end) of the request, all of them cached before `start`.

    samples  whether the next token is drawn: the chunk reaches the row's end
    encode   a medium to encode first
    draft    guesses of the tokens after `end`, to be run and checked in the same step
    """

    request: Request
    start: int
    end: int
    samples: bool
    encode: MediaSpan | None = None
    draft: tuple[int, ...] = ()

    @property
    def tokens(self) -> int:
        """How many tokens the step runs for it."""
        return self.end - self.start + len(self.draft)


@dataclass(frozen=True)
class StepOutput:
    """What a step did for one request: how many tokens its answer has more, and why it ended, if it did."""

    request: Request
    tokens: int
    end_reason: EndReason | None


class Scheduler:
    """First come, first served. `plan` and `commit` alternate; `finish` comes between."""

    def __init__(
        self,
        pool: PagePool,
        media: MediaCache[Any],
        limits: Limits,
        *,
        switch: int,
        context: int,
        eos_ids: Sequence[int],
    ) -> None:
        """switch: rows longer than this run with the long factors; context: the longest row there can be."""
        self._pool = pool
        self._media = media
        self._limits = limits
        self._switch = switch
        self._context = context
        self._eos_ids = frozenset(eos_ids)
        self._waiting: list[Request] = []  # both in order of arrival
        self._running: list[Request] = []
        self._arrivals = itertools.count()
        self._may_encode = True
        self.preemptions = 0

    @property
    def busy(self) -> bool:
        """Whether any request is waiting or running."""
        return bool(self._waiting or self._running)

    @property
    def waiting(self) -> int:
        """Requests that wait, preempted ones among them."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests that hold a place in each step."""
        return len(self._running)

    @property
    def room(self) -> int:
        """How many more requests may wait; preempted ones may fill the queue beyond its end."""
        return max(self._limits.max_queue - len(self._waiting), 0)

    def add(self, request: Request) -> None:
        """Queue a request that could run alone. Raises CapacityError when too many wait."""
        if not self.room:
            raise CapacityError(f"{len(self._waiting)} requests wait already, as many as may; try again later")
        request.arrival = next(self._arrivals)
        self._waiting.append(request)

    def plan(self) -> tuple[Chunk, ...]:
        """Admit what fits, take pages, and share out the step's tokens. Empty when nothing can run."""
        for request in tuple(self._running):
            if request.state is State.RUNNING:
                self._extend(request)
        self._may_encode = True
        budget = self._limits.chunk_tokens
        answering = [request for request in self._running if request.length - request.cached == 1]
        filling = [request for request in self._running if request.length - request.cached > 1]
        chunks: list[Chunk] = []
        # Chained, not unpacked: whether another one joins is asked when the step has room left for it.
        for request in itertools.chain(answering, filling, self._joining(chunks)):
            chunk = self._chunk(request, budget)
            if chunk is not None and chunk.samples and chunk.tokens == 1 and request.answer:
                chunk = replace(chunk, draft=self._draft(request, max(len(answering), 1), budget))
            if chunk is not None:
                chunks.append(chunk)
                budget -= chunk.tokens
            if budget == 0:
                break
        return tuple(chunks)

    def commit(self, plan: Sequence[Chunk], results: Sequence[Sequence[Sampled]]) -> list[StepOutput]:
        """Count tokens as cached and append those drawn; a row with an `error` ends with it.

        results  of each chunk the tokens drawn, one more than guesses of it were right
        """
        outputs = []
        for chunk, drawn in zip(plan, results, strict=True):
            request, before = chunk.request, len(chunk.request.answer)
            reason = self._accept(chunk, drawn) if request.error is None else "error"
            if reason is not None:
                self.finish(request, reason)
            if reason is not None or len(request.answer) > before:
                outputs.append(StepOutput(request, len(request.answer) - before, reason))
        return outputs

    def _accept(self, chunk: Chunk, drawn: Sequence[Sampled]) -> EndReason | None:
        """Take over what a chunk came to; tokens after the one that ends the answer are dropped."""
        request = chunk.request
        request.cached = chunk.end
        request.guesses.made += len(chunk.draft)
        request.guesses.right += max(len(drawn) - 1, 0)
        reason: EndReason | None = None
        for n, sampled in enumerate(drawn):
            request.cached = chunk.end + n
            request.answer.append(sampled.token)
            if sampled.logprobs is not None:
                request.logprobs.append(sampled.logprobs)
            reason = self._end_reason(request, sampled.token)
            if reason is not None:
                break
        self._publish(request)
        self._release_media(request)
        return reason

    def finish(self, request: Request, reason: EndReason) -> None:
        """End a request, wherever it stands, and give back what it held."""
        if request.state is State.WAITING:
            self._waiting.remove(request)
        elif request.state is State.RUNNING:
            self._running.remove(request)
        self._release(request)
        request.state, request.end_reason = State.FINISHED, reason

    def _joining(self, chunks: Sequence[Chunk]) -> Iterator[Request]:
        """Waiting requests that are let in, one by one, while `chunks`, the step so far, has room."""
        for request in tuple(self._waiting):
            if len(self._running) >= self._limits.max_rows:
                return
            if any(self._computes_next_page(chunk, request) for chunk in chunks):
                continue
            if not self._begin(request, spare=len(self._running)):
                return
            self._waiting.remove(request)
            bisect.insort(self._running, request, key=attrgetter("arrival"))
            request.state = State.RUNNING
            if request.found is None:
                request.found = request.cached
            yield request

    def _computes_next_page(self, chunk: Chunk, request: Request) -> bool:
        """Whether `chunk` works on a page of a prompt that `request` needs too, and can find in a later step."""
        other, size = chunk.request, self._limits.page_tokens
        end = (chunk.start // size + 1) * size
        if not self._limits.prefix_cache or end > min(len(other.prompt.ids), len(request.prompt.ids) - 1):
            return False
        return (
            self._root(other) == (request.adapter, request.version, request.epoch, request.length > self._switch)
            and other.prompt.ids[end - size : end] == request.prompt.ids[end - size : end]  # mostly settles it
            and other.prompt.ids[:end] == request.prompt.ids[:end]
            and _media_before(other, end) == _media_before(request, end)
        )

    def _extend(self, request: Request) -> None:
        """Pages for the row's newest token. Past the switch all keys need other angles: the row begins anew."""
        if request.long != (request.length > self._switch):
            self._release(request)
        while not self._begin(request, spare=0):
            youngest = self._running[-1]
            self._preempt(youngest)
            if youngest is request:
                return

    def _begin(self, request: Request, *, spare: int) -> bool:
        """Take what pages the row still needs, known ones first; nothing where fewer than `spare` would be left."""
        if not request.pages:
            request.long = request.length > self._switch
            request.pages, request.nodes = self._pool.match(self._root(request), self._contents(request))
            request.cached = len(request.pages) * self._limits.page_tokens
        need = self._pages_for(request.length) - len(request.pages)
        pages = self._pool.take(need) if need + spare <= self._pool.available else None
        if pages is None:
            if request.state is State.WAITING:
                self._release(request)
            return False
        request.pages += pages
        return True

    def _preempt(self, request: Request) -> None:
        self._running.remove(request)
        self._release(request)
        request.state = State.WAITING
        bisect.insort(self._waiting, request, key=attrgetter("arrival"))
        self.preemptions += 1

    def _release(self, request: Request) -> None:
        """Give back pages and encoder rows; what was computed is to be computed again, or found."""
        self._pool.release(request.pages)
        request.pages, request.nodes, request.cached = [], [], 0
        self._release_media(request, everything=True)

    def _chunk(self, request: Request, budget: int) -> Chunk | None:
        """Up to `budget` of the row's tokens: as far as encoder rows are here, or one more medium's can be made."""
        start, end = request.cached, min(request.length, request.cached + budget)
        encode = None
        for span in request.prompt.spans:
            if span.start >= end or span.start + span.length <= start:
                continue
            key = request.media_key(span)
            ready = self._media.ready(key)
            if not ready:
                if not self._may_encode:
                    # Another row's medium is made in this step: answers must not wait for several.
                    end = max(span.start, start)
                    break
                self._may_encode, encode = False, span
            request.media_found.setdefault(key, ready)
            if key not in request.media:
                self._media.hold(key, span.length)
                request.media.add(key)
        if end == start:
            return None
        return Chunk(request, start, end, end == request.length, encode)

    def _draft(self, request: Request, answering: int, budget: int) -> tuple[int, ...]:
        """Guesses for an answering row, as far as its pages, its rotary table and its answer's length go."""
        room = len(request.pages) * self._limits.page_tokens
        if not request.long:
            room = min(room, self._switch)
        left = min(request.params.max_tokens - len(request.answer), self._context - request.length) - 1
        share = DRAFTED_STEP // answering - 1
        return draft(request, min(self._limits.draft_tokens, share, room - request.length, left, budget - 1))

    def _release_media(self, request: Request, *, everything: bool = False) -> None:
        """Give back encoder rows, those that the rest of the prefill does not need at least."""
        if not request.media:
            return
        needed: set[MediaKey] = set()
        if not everything:
            spans = [span for span in request.prompt.spans if span.start < request.cached < span.start + span.length]
            needed = {request.media_key(span) for span in spans}
        for key in request.media - needed:
            self._media.release(key)
        request.media &= needed

    def _publish(self, request: Request) -> None:
        """Let others find the pages that are full now."""
        if not self._limits.prefix_cache:
            return
        size = self._limits.page_tokens
        for page in range(len(request.nodes), request.cached // size):
            parent = request.nodes[-1] if request.nodes else self._root(request)
            request.pages[page], node = self._pool.publish(
                parent, page_content(request, page, size), request.pages[page]
            )
            request.nodes.append(node)

    def _contents(self, request: Request) -> Iterator[Any]:
        """Contents of the row's full pages, short of its last token, which must be run to go on from."""
        size = self._limits.page_tokens
        pages = (request.length - 1) // size if self._limits.prefix_cache else 0
        return (page_content(request, page, size) for page in range(pages))

    def _root(self, request: Request) -> Hashable:
        return request.adapter, request.version, request.epoch, request.long

    def _pages_for(self, tokens: int) -> int:
        return -(-tokens // self._limits.page_tokens)

    def _end_reason(self, request: Request, token: int) -> EndReason | None:
        if token in self._eos_ids:
            return "stop"
        if request.stop is not None:
            request.stop.push(token)
            if request.stop.stopped:
                return "stop"
        if len(request.answer) >= request.params.max_tokens or request.length >= self._context:
            return "length"
        return None


def _media_before(request: Request, end: int) -> list[tuple[MediaKey, int]]:
    """Which media begin before token `end`, and where."""
    return [(request.media_key(span), span.start) for span in request.prompt.spans if span.start < end]
