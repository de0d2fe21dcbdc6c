"""POST /v1/responses, as Open Responses has it: items in, items out, events with rising numbers."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from phi4mm.processing.tool_stream import CallDelta
from phi4mm.server.answer_split import AnswerSplit
from phi4mm.server.answering import answer, new_id, stream_of
from phi4mm.server.chat import submit
from phi4mm.server.chat_answer import TokenLogprob
from phi4mm.server.chat_schema import ChatBody
from phi4mm.server.errors import ApiError
from phi4mm.server.json_body import read_json
from phi4mm.server.logprobs import choice_logprobs
from phi4mm.server.media_error import MediaError
from phi4mm.server.response_answer import CallItem, MessageItem, OutputText, ResponseObject, begin_response
from phi4mm.server.response_input import chat_of
from phi4mm.server.response_schema import ResponseBody
from phi4mm.server.service import Service
from phi4mm.server.sse import DONE, event


async def responses(request: Request) -> Response:
    """Answer a request, whole or as events."""
    service: Service = request.app.state.service
    body = await read_json(request, ResponseBody, service.settings.max_body_bytes)
    chat, growing = chat_of(body), begin_response(body)
    if body.stream:
        numbers = itertools.count()

        def failed(error: ApiError) -> bytes:
            growing.fail(error.message)
            return _event(numbers, "failed", {"response": growing})

        return await stream_of(request, _events(request, chat, growing, numbers), failed)
    return await answer(request, _whole(request, chat, growing))


async def _whole(request: Request, chat: ChatBody, growing: ResponseObject) -> ResponseObject:
    async for _ in _grow(request, chat, growing):
        pass
    return growing


async def _events(
    request: Request, chat: ChatBody, growing: ResponseObject, numbers: Iterator[int]
) -> AsyncGenerator[bytes, None]:
    async for name, fields in _grow(request, chat, growing):
        yield _event(numbers, name, fields)
    yield DONE


def _event(numbers: Iterator[int], name: str, fields: dict[str, Any]) -> bytes:
    kind = f"response.{name}"
    return event({"type": kind, "sequence_number": next(numbers), **fields}, kind)


async def _grow(request: Request, chat: ChatBody, growing: ResponseObject) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Let the answer grow; what happens to it, as the names and fields of events."""
    try:
        running = await submit(request, chat)
    except MediaError as error:
        raise ApiError(error.status, error.message, param="input", code="invalid_media") from None
    tokenizer = request.app.state.service.model.processor.tokenizer
    split = AnswerSplit(running.tools, running.grammar)
    waiting: list[TokenLogprob] = []  # of tokens whose text has not come yet
    yield "created", {"response": growing}
    yield "in_progress", {"response": growing}
    async for piece in running.pieces():
        if chat.logprobs:
            waiting += choice_logprobs(piece.logprobs, tokenizer).content
        for delta in split.push(piece.text, last=piece.reply is not None):
            if isinstance(delta, str):
                for each in _add_text(growing, delta, waiting):
                    yield each
                waiting = []
            else:
                for each in _add_call(growing, delta):
                    yield each
        if piece.reply is not None:
            cut = piece.reply.finish_reason == "length"
            if not growing.output:
                for each in _add_text(growing, "", waiting):
                    yield each
            for each in _end_item(growing, cut=cut):
                yield each
            growing.end(piece.reply.usage, cut=cut)
    yield growing.status, {"response": growing}


def _add_text(growing: ResponseObject, text: str, logprobs: list[TokenLogprob]) -> list[tuple[str, dict[str, Any]]]:
    """Text at the end of the last message, or in a new one."""
    happened: list[tuple[str, dict[str, Any]]] = []
    item = growing.output[-1] if growing.output else None
    if not isinstance(item, MessageItem):
        happened += _end_item(growing, cut=False)
        item = MessageItem(new_id("msg").replace("-", "_"))
        growing.output.append(item)
        happened.append(("output_item.added", {"output_index": len(growing.output) - 1, "item": _copy(item)}))
        item.content.append(OutputText())
        happened.append(("content_part.added", {**_place(growing), "part": OutputText()}))
    item.content[0].text += text
    item.content[0].logprobs += logprobs
    if text:
        happened.append(("output_text.delta", {**_place(growing), "delta": text, "logprobs": logprobs}))
    return happened


def _add_call(growing: ResponseObject, delta: CallDelta) -> list[tuple[str, dict[str, Any]]]:
    """A part of a call; the first one begins a new item."""
    happened: list[tuple[str, dict[str, Any]]] = []
    if delta.name is not None:
        happened += _end_item(growing, cut=False)
        call = CallItem(new_id("fc").replace("-", "_"), new_id("call"), delta.name)
        growing.output.append(call)
        happened.append(("output_item.added", {"output_index": len(growing.output) - 1, "item": _copy(call)}))
    item = growing.output[-1]
    assert isinstance(item, CallItem)
    item.arguments += delta.arguments
    place = {"item_id": item.id, "output_index": len(growing.output) - 1}
    happened.append(("function_call_arguments.delta", {**place, "delta": delta.arguments}))
    return happened


def _end_item(growing: ResponseObject, *, cut: bool) -> list[tuple[str, dict[str, Any]]]:
    """The last item has ended, if there is one that had not."""
    if not growing.output or growing.output[-1].status != "in_progress":
        return []
    item, index = growing.output[-1], len(growing.output) - 1
    item.status = "incomplete" if cut else "completed"
    happened: list[tuple[str, dict[str, Any]]] = []
    if isinstance(item, MessageItem):
        part = item.content[0]
        done = {**_place(growing), "text": part.text, "logprobs": part.logprobs}
        happened += [("output_text.done", done), ("content_part.done", {**_place(growing), "part": part})]
    else:
        done = {"item_id": item.id, "output_index": index, "arguments": item.arguments}
        happened.append(("function_call_arguments.done", done))
    return [*happened, ("output_item.done", {"output_index": index, "item": item})]


def _place(growing: ResponseObject) -> dict[str, Any]:
    return {"item_id": growing.output[-1].id, "output_index": len(growing.output) - 1, "content_index": 0}


def _copy(item: MessageItem | CallItem) -> MessageItem | CallItem:
    """The item as it is when it is added: empty."""
    if isinstance(item, MessageItem):
        return MessageItem(item.id)
    return CallItem(item.id, item.call_id, item.name)
