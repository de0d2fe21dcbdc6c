"""What all routes that ask the model share: an answer that ends when the client leaves or the server stops."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from phi4mm.inference.stream import Piece, Stream
from phi4mm.protocol.inputs import Adapter, Prompt
from phi4mm.protocol.messages import Tool
from phi4mm.protocol.response import Reply
from phi4mm.protocol.sampling import SamplingParams
from phi4mm.server.errors import ApiError, json_response
from phi4mm.server.sse import EventStream, begin, error_event
from phi4mm.server.waiting import unless_left


@dataclass(frozen=True)
class Running:
    """A request that the engine has, with what is needed to read its answers.

    saw  is called with each piece: it counts
    """

    stream: Stream
    saw: Callable[[Piece], None]
    tools: Sequence[Tool] = ()
    grammar: str | None = None

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """The answers as they grow. Aborts the request when it is closed. Raises the request's error."""
        with self.stream:
            async for piece in self.stream.pieces():
                self.saw(piece)
                yield piece

    async def replies(self) -> list[Reply]:
        """All answers, whole. Raises the request's error."""
        replies = {piece.index: piece.reply async for piece in self.pieces() if piece.reply is not None}
        return [replies[index] for index in sorted(replies)]


async def merged(requests: Sequence[Running]) -> AsyncIterator[tuple[int, Piece]]:
    """The pieces of several requests as they arrive, with the request's number; the first error ends all of them."""
    arrived: asyncio.Queue[tuple[int, Piece] | None] = asyncio.Queue()

    async def read(number: int, running: Running) -> None:
        try:
            async for piece in running.pieces():
                arrived.put_nowait((number, piece))
        finally:
            arrived.put_nowait(None)

    tasks = [asyncio.create_task(read(number, running)) for number, running in enumerate(requests)]
    try:
        for _ in tasks:
            while (entry := await arrived.get()) is not None:
                yield entry
            for task in tasks:
                if task.done():
                    task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def send(
    request: Request,
    prompt: Prompt,
    params: SamplingParams,
    *,
    adapter: Adapter | None,
    tools: Sequence[Tool] = (),
    grammar: str | None = None,
) -> Running:
    """Send a prompt to the engine. Raises InputError."""
    stream = request.app.state.service.model.submit(prompt, params, tools=tools, grammar=grammar, adapter=adapter)
    return Running(stream, request.state.watch.sends(prompt), tools, grammar)


def new_id(prefix: str) -> str:
    """An id that nobody else has."""
    return f"{prefix}-{secrets.token_hex(12)}"


async def answer(request: Request, work: Coroutine[Any, Any, object]) -> Response:
    """The result of `work` as JSON."""
    return json_response(await unless_left(request.receive, request.app.state.service.stopping, work))


async def stream_of(
    request: Request, events: AsyncGenerator[bytes, None], failed: Callable[[ApiError], bytes] = error_event
) -> Response:
    """Events as an answer. What goes wrong before the first has a status of its own, after it the event `failed`."""
    stopping = request.app.state.service.stopping
    first = await begin(request.receive, stopping, events)
    return EventStream(first, events, stopping, request.state.request_id, failed)
