"""Streaming: the outputs of one request as text, while they arrive."""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType

from phi4mm.engine.client import EngineClient
from phi4mm.engine.messages import EngineFinishReason, EngineOutput, EngineRequest
from phi4mm.errors import InputError, PhiError
from phi4mm.processing.detokenizer import TextStream
from phi4mm.processing.grammar import allows_words
from phi4mm.processing.tokenizer import Tokenizer
from phi4mm.processing.tool_calls import find_tool_calls
from phi4mm.protocol.inputs import Prompt
from phi4mm.protocol.messages import Tool
from phi4mm.protocol.response import FinishReason, Reply, TokenLogprobs, Usage


@dataclass(frozen=True)
class Piece:
    """What is new in one of a request's answers: text, and the log-probabilities of new tokens if they were asked for.

    tokens  how many arrived with it
    reply   the whole answer, in its last piece
    """

    index: int
    text: str
    tokens: int
    logprobs: tuple[TokenLogprobs, ...]
    reply: Reply | None


@dataclass(eq=False)
class _Answer:
    """One of the request's answers. `pieces` is text that is complete and was not yet read."""

    text: TextStream
    pieces: deque[str] = field(default_factory=deque)
    ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    last: EngineOutput | None = None

    @property
    def finish_reason(self) -> EngineFinishReason | None:
        return None if self.last is None else self.last.finish_reason

    @property
    def error(self) -> PhiError | None:
        return None if self.last is None else self.last.error

    def take(self, output: EngineOutput, eos_ids: Collection[int]) -> None:
        self.last = output
        self.ids += output.ids
        self.logprobs += output.logprobs
        for id in output.ids:
            if id not in eos_ids:
                self.pieces.append(self.text.push(id))
        if output.finish_reason is not None:
            self.pieces.append(self.text.finish())


class Stream:
    """An answer that is read while it grows: iterate with `for` or `async for` over its text, then read `reply`.

    For one reader at a time. Closing it early or deleting it, or cancelling a task that waits for it, aborts the
    request: its memory is free before the next step.
    """

    def __init__(
        self,
        client: EngineClient,
        request: EngineRequest,
        tokenizer: Tokenizer,
        eos_ids: Collection[int],
        *,
        tools: Sequence[Tool] = (),
    ) -> None:
        """Sends the request. Calls of `tools` are parsed from the answer. Raises InputError, EngineError."""
        self._client = client
        self._eos_ids = eos_ids
        self._tools = tools
        self._allows_words = allows_words(request.grammar)
        self._prompt = request.prompt
        self._id = request.id
        self._answers = [
            _Answer(TextStream(tokenizer.answer_bytes, request.params.stop)) for _ in range(request.params.n)
        ]
        self._closed = False
        self._outputs = client.submit(request)
        self._dropped = weakref.finalize(self, client.abort, request.id)
        self._dropped.atexit = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """The next piece of text: never empty, never part of a character. Raises the request's error if it failed."""
        while (piece := self._next_piece()) is None:
            self._take(self._outputs.get())
        if not piece:
            raise StopIteration
        return piece

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        """Like `__next__`, without blocking the event loop."""
        try:
            while (piece := self._next_piece()) is None:
                self._take(await self._outputs.aget())
        except (asyncio.CancelledError, GeneratorExit):
            self.close()
            raise
        if not piece:
            raise StopAsyncIteration
        return piece

    async def pieces(self) -> AsyncIterator[Piece]:
        """All answers of the request as they grow, in place of the first one's text. A piece may have no text.

        raises  the request's error if it failed
        """
        while not self._ended:
            output = await self._outputs.aget()
            self._take(output)
            answer = self._answers[output.index]
            if answer.error is not None:
                raise answer.error
            if self._closed:
                return
            text = "".join(answer.pieces)
            answer.pieces.clear()
            reply = None if output.finish_reason is None else self._reply(answer)
            yield Piece(output.index, text, len(output.ids), output.logprobs, reply)

    def token_ids(self) -> Iterator[int]:
        """The token ids of the answer as they arrive, the one that ends it included; in place of its text.

        raises  the request's error if it failed
        """
        first = self._answers[0]
        for n in itertools.count():
            while n == len(first.ids) and first.finish_reason is None and not self._closed:
                self._take(self._outputs.get())
            if n == len(first.ids) and first.error is not None:
                raise first.error
            if n == len(first.ids) or self._closed:
                return
            yield first.ids[n]

    @property
    def reply(self) -> Reply:
        """The whole answer, once iteration has ended. Raises InputError before the end and after an early `close`."""
        return self._reply(self._answers[0])

    def finish(self) -> Reply:
        """Wait for the end and return the answer with its alternatives. Raises the request's error if it failed."""
        try:
            while not self._ended:
                self._take(self._outputs.get())
            return self._full_reply()
        finally:
            self.close()

    async def afinish(self) -> Reply:
        """Like `finish`, without blocking the event loop."""
        try:
            while not self._ended:
                self._take(await self._outputs.aget())
            return self._full_reply()
        finally:
            self.close()

    def close(self) -> None:
        """Abort the answer and its alternatives; does nothing if they have ended."""
        if not self._ended and not self._closed:
            self._closed = True
            self._dropped()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _ended(self) -> bool:
        return all(answer.finish_reason is not None for answer in self._answers)

    def _take(self, output: EngineOutput) -> None:
        self._answers[output.index].take(output, self._eos_ids)
        if self._ended:
            self._dropped.detach()

    def _next_piece(self) -> str | None:
        """Text of the first answer: "" at its end, None while no text has arrived."""
        first = self._answers[0]
        while first.pieces and not self._closed:
            if piece := first.pieces.popleft():
                return piece
        if self._closed:
            return ""
        if first.error is not None:
            raise first.error
        return "" if first.finish_reason is not None else None

    def _full_reply(self) -> Reply:
        first, *others = (self._reply(answer) for answer in self._answers)
        return replace(first, alternatives=tuple(others))

    def _reply(self, answer: _Answer) -> Reply:
        if answer.error is not None:
            raise answer.error
        last = answer.last
        if last is None or last.finish_reason in (None, "abort") or self._closed:
            raise InputError("the answer has not ended; iterate to the end first, or call finish()")
        text = answer.text.text
        calls, content = find_tool_calls(text, self._tools) if self._tools else ([], text)
        if content and not self._allows_words:  # what stands in a structured output's strings calls nothing
            calls, content = [], text
        length = last.finish_reason == "length" and not answer.text.stopped
        reason: FinishReason = "tool_calls" if calls else "length" if length else "stop"
        usage = _usage(self._prompt, len(answer.ids), last)
        return Reply(text, reason, usage, tuple(calls), tuple(answer.ids), tuple(answer.logprobs), content=content)


def _usage(prompt: Prompt, completion: int, last: EngineOutput) -> Usage:
    return Usage(
        prompt_tokens=len(prompt.ids),
        completion_tokens=completion,
        image_tokens=sum(span.length for span in prompt.spans if span.kind == "image"),
        audio_tokens=sum(span.length for span in prompt.spans if span.kind == "audio"),
        cached_tokens=last.cached_tokens,
        cached_media=last.cached_media,
    )
