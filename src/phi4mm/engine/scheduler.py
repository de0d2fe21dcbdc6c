"""Which sequences run in the next step, and what the step produced. Plain Python, no torch.

First come, first served. A step takes one token of every decoding sequence, then chunks of prompts in order of arrival
(chunked prefill). Waiting requests are admitted one by one while the step has room. A request whose next page is being
computed by another sequence in this step waits for that page. Pages are taken at admission for all tokens of a
sequence, then one by one while it decodes. When pages run out, the sequence that arrived last is preempted: it gives up
its pages and prefills prompt and answer again later. So the oldest sequence advances in every step; the engine refuses
a request that could not finish alone, and no request waits forever.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from phi4mm.config.engine import EngineArgs
from phi4mm.engine.encoder_cache import EncoderCache, MediaKey
from phi4mm.engine.kv_pages import PagePool, page_content
from phi4mm.engine.messages import EngineFinishReason
from phi4mm.engine.request import Request, Sampled, State
from phi4mm.engine.speculative import propose
from phi4mm.errors import CapacityError
from phi4mm.protocol.inputs import MediaSpan

# Sampled and proposed tokens of a step together. With more, a step is no longer bound by reading the weights.
MAX_SPECULATIVE_TOKENS_PER_STEP = 8


@dataclass(frozen=True)
class ScheduledChunk:
    """One sequence's share of a step: tokens [start, end) of the request; the tokens before `start` are cached.

    samples   whether the next token is sampled: the chunk reaches the sequence's end
    encode    a media item to encode first
    proposed  tokens that may follow `end`, run and verified in the same step (speculative decoding)
    """

    request: Request
    start: int
    end: int
    samples: bool
    encode: MediaSpan | None = None
    proposed: tuple[int, ...] = ()

    @property
    def tokens(self) -> int:
        """How many tokens the step runs for this sequence."""
        return self.end - self.start + len(self.proposed)


@dataclass(frozen=True)
class StepOutput:
    """What a step did for one request: how many tokens its answer gained, and why it finished, if it did."""

    request: Request
    tokens: int
    finish_reason: EngineFinishReason | None


class Scheduler:
    """First come, first served. `plan` and `commit` alternate; `finish` may be called between them."""

    def __init__(
        self,
        pool: PagePool,
        media: EncoderCache[Any],
        engine_args: EngineArgs,
        *,
        switch: int,
        context: int,
        eos_ids: Sequence[int],
    ) -> None:
        """switch: longer sequences use the long RoPE factors; context: the most tokens of a sequence."""
        self._pool = pool
        self._media = media
        self._args = engine_args
        self._switch = switch
        self._context = context
        self._eos_ids = frozenset(eos_ids)
        self._waiting: list[Request] = []  # both in order of arrival
        self._running: list[Request] = []
        self._arrivals = itertools.count()
        self._may_encode = True
        self.preemptions = self.proposed_tokens = self.accepted_tokens = 0

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
        """Requests that have pages and take part in the steps."""
        return len(self._running)

    @property
    def room(self) -> int:
        """How many more requests may be queued. Preempted requests may make the queue longer than `max_waiting`."""
        return max(self._args.max_waiting - len(self._waiting), 0)

    def add(self, request: Request) -> None:
        """Queue a request that fits in the cache when it runs alone. Raises CapacityError when too many wait."""
        if not self.room:
            raise CapacityError(
                f"{len(self._waiting)} requests wait; expected fewer than {self._args.max_waiting}; try again later"
            )
        request.arrival = next(self._arrivals)
        self._waiting.append(request)

    def plan(self) -> tuple[ScheduledChunk, ...]:
        """Admit requests, take pages, and distribute the step's tokens. Empty when nothing can run."""
        for request in tuple(self._running):
            if request.state is State.RUNNING:
                self._allocate_for_decode(request)
        self._may_encode = True
        budget = self._args.max_num_batched_tokens
        decoding = [request for request in self._running if request.length - request.cached == 1]
        prefilling = [request for request in self._running if request.length - request.cached > 1]
        chunks: list[ScheduledChunk] = []
        # Chained, not unpacked: a waiting request is admitted only when the step has room left for it.
        for request in itertools.chain(decoding, prefilling, self._admit(chunks)):
            chunk = self._chunk(request, budget)
            if chunk is not None and chunk.samples and chunk.tokens == 1 and request.answer:
                chunk = replace(chunk, proposed=self._propose(request, max(len(decoding), 1), budget))
            if chunk is not None:
                chunks.append(chunk)
                budget -= chunk.tokens
            if budget == 0:
                break
        return tuple(chunks)

    def commit(self, plan: Sequence[ScheduledChunk], results: Sequence[Sequence[Sampled]]) -> list[StepOutput]:
        """Count tokens as cached and append the sampled ones; a sequence with an `error` finishes with it.

        results  for each chunk its sampled tokens: one more than its accepted proposals
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

    def _accept(self, chunk: ScheduledChunk, drawn: Sequence[Sampled]) -> EngineFinishReason | None:
        """Append what a chunk produced; tokens after the one that finishes the answer are dropped."""
        request = chunk.request
        request.cached = chunk.end
        request.speculative.proposed += len(chunk.proposed)
        request.speculative.accepted += max(len(drawn) - 1, 0)
        self.proposed_tokens += len(chunk.proposed)
        self.accepted_tokens += max(len(drawn) - 1, 0)
        reason: EngineFinishReason | None = None
        for n, sampled in enumerate(drawn):
            request.cached = chunk.end + n
            request.answer.append(sampled.token)
            if sampled.logprobs is not None:
                request.logprobs.append(sampled.logprobs)
            reason = self._finish_reason(request, sampled.token)
            if reason is not None:
                break
        self._publish(request)
        self._release_media(request)
        return reason

    def finish(self, request: Request, reason: EngineFinishReason) -> None:
        """Finish a request in any state, and release what it held."""
        if request.state is State.WAITING:
            self._waiting.remove(request)
        elif request.state is State.RUNNING:
            self._running.remove(request)
        self._release(request)
        request.state, request.finish_reason = State.FINISHED, reason

    def _admit(self, chunks: Sequence[ScheduledChunk]) -> Iterator[Request]:
        """Admit waiting requests one by one, while `chunks`, the step so far, has room."""
        for request in tuple(self._waiting):
            if len(self._running) >= self._args.max_num_seqs:
                return
            if any(self._computes_next_page(chunk, request) for chunk in chunks):
                continue
            if not self._allocate_pages(request, spare=len(self._running)):
                return
            self._waiting.remove(request)
            bisect.insort(self._running, request, key=attrgetter("arrival"))
            request.state = State.RUNNING
            if request.prefix_hit is None:
                request.prefix_hit = request.cached
            yield request

    def _computes_next_page(self, chunk: ScheduledChunk, request: Request) -> bool:
        """Whether `chunk` computes a page that `request` needs too, and can find in a later step."""
        other, size = chunk.request, self._args.page_size
        end = (chunk.start // size + 1) * size
        if not self._args.enable_prefix_caching or end > min(len(other.prompt.ids), len(request.prompt.ids) - 1):
            return False
        return (
            self._root(other)
            == (request.adapter, request.version, request.weights_version, request.length > self._switch)
            and other.prompt.ids[end - size : end] == request.prompt.ids[end - size : end]  # fails early in most cases
            and other.prompt.ids[:end] == request.prompt.ids[:end]
            and _media_before(other, end) == _media_before(request, end)
        )

    def _allocate_for_decode(self, request: Request) -> None:
        """Take pages for the newest token. Past the LongRoPE switch, prefill again: the angles change."""
        if request.long_rope != (request.length > self._switch):
            self._release(request)
        while not self._allocate_pages(request, spare=0):
            youngest = self._running[-1]
            self._preempt(youngest)
            if youngest is request:
                return

    def _allocate_pages(self, request: Request, *, spare: int) -> bool:
        """Take the pages that the sequence needs, cached ones first. Takes none if fewer than `spare` would be left."""
        if not request.pages:
            request.long_rope = request.length > self._switch
            request.pages, request.nodes = self._pool.match(self._root(request), self._contents(request))
            request.cached = len(request.pages) * self._args.page_size
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
        """Release pages and encoder outputs. To run again, the request must compute or find them again."""
        self._pool.release(request.pages)
        request.pages, request.nodes, request.cached = [], [], 0
        self._release_media(request, everything=True)

    def _chunk(self, request: Request, budget: int) -> ScheduledChunk | None:
        """Up to `budget` tokens: as far as encoder outputs are ready, or one more media item can be encoded."""
        start, end = request.cached, min(request.length, request.cached + budget)
        encode = None
        for span in request.prompt.spans:
            if span.start >= end or span.start + span.length <= start:
                continue
            key = request.media_key(span)
            ready = self._media.has(key)
            if not ready:
                if not self._may_encode:
                    # This step encodes a media item already: decoding sequences must not wait for several.
                    end = max(span.start, start)
                    break
                self._may_encode, encode = False, span
            request.media_hits.setdefault(key, ready)
            if key not in request.media:
                self._media.reserve(key, span.length)
                request.media.add(key)
        if end == start:
            return None
        return ScheduledChunk(request, start, end, end == request.length, encode)

    def _propose(self, request: Request, decoding: int, budget: int) -> tuple[int, ...]:
        """Proposed tokens for a decoding sequence, within its pages, rotary table and answer length."""
        room = len(request.pages) * self._args.page_size
        if not request.long_rope:
            room = min(room, self._switch)
        left = min(request.params.max_tokens - len(request.answer), self._context - request.length) - 1
        share = MAX_SPECULATIVE_TOKENS_PER_STEP // decoding - 1
        return propose(request, min(self._args.num_speculative_tokens, share, room - request.length, left, budget - 1))

    def _release_media(self, request: Request, *, everything: bool = False) -> None:
        """Release encoder outputs that the rest of the prefill does not need, or all of them."""
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
        """Put the pages that are full now into the prefix cache."""
        if not self._args.enable_prefix_caching:
            return
        size = self._args.page_size
        for page in range(len(request.nodes), request.cached // size):
            parent = request.nodes[-1] if request.nodes else self._root(request)
            request.pages[page], node = self._pool.cache_page(
                parent, page_content(request, page, size), request.pages[page]
            )
            request.nodes.append(node)

    def _contents(self, request: Request) -> Iterator[Any]:
        """Contents of the sequence's full pages, without its last token: that one must be run to sample the next."""
        size = self._args.page_size
        pages = (request.length - 1) // size if self._args.enable_prefix_caching else 0
        return (page_content(request, page, size) for page in range(pages))

    def _root(self, request: Request) -> Hashable:
        return request.adapter, request.version, request.weights_version, request.long_rope

    def _pages_for(self, tokens: int) -> int:
        return -(-tokens // self._args.page_size)

    def _finish_reason(self, request: Request, token: int) -> EngineFinishReason | None:
        if token in (self._eos_ids if request.eos_ids is None else request.eos_ids):
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
