"""Waits for work until the client leaves or the server stops; what is left of the work is cancelled then."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

from phi4mm.server.errors import ApiError
from phi4mm.server.service import RETRY_SECONDS

T = TypeVar("T")


class ClientLeft(Exception):
    """The connection of the request was closed."""


def stopped() -> ApiError:
    """What a client is told whose request is cancelled because the server stops."""
    return ApiError(503, "the server is stopping; send the request again", code="stopping", retry_after=RETRY_SECONDS)


async def unless_left(receive: Receive, stopping: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. The body of the request must have been read.

    raises  ClientLeft, ApiError when the server stops, and what `work` raises
    """
    task = asyncio.ensure_future(work)
    left, stops = asyncio.ensure_future(_left(receive)), asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({task, left, stops}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientLeft if left.done() else stopped()
        return task.result()
    finally:
        for each in (task, left, stops):
            each.cancel()
        await asyncio.gather(task, left, stops, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
