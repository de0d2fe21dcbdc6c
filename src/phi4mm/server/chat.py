"""POST /v1/chat/completions."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import AsyncGenerator

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from phi4mm.processing.grammar import grammar_source
from phi4mm.processing.tokenizer import Tokenizer
from phi4mm.processing.tool_calls import as_tool
from phi4mm.processing.tool_stream import CallDelta
from phi4mm.protocol.messages import Tool
from phi4mm.protocol.request import ResponseFormat
from phi4mm.protocol.response import Reply
from phi4mm.server.answer_split import AnswerSplit
from phi4mm.server.answering import Running, answer, new_id, send, stream_of
from phi4mm.server.chat_answer import (
    AnswerMessage,
    CalledFunction,
    Choice,
    Chunk,
    ChunkChoice,
    Completion,
    Delta,
    FunctionDelta,
    ToolCallBody,
    ToolCallDelta,
    UsageBody,
    usage_of,
)
from phi4mm.server.chat_messages import in_thread_if_long
from phi4mm.server.chat_schema import ChatBody, JSONObjectFormat, JSONSchemaFormat, NamedToolChoice
from phi4mm.server.errors import ApiError
from phi4mm.server.json_body import read_json
from phi4mm.server.logprobs import choice_logprobs
from phi4mm.server.models import adapter_of
from phi4mm.server.sampling import sampling_params
from phi4mm.server.service import Service
from phi4mm.server.sse import DONE, event


async def chat_completions(request: Request) -> Response:
    """Answer a conversation, whole or as events."""
    service: Service = request.app.state.service
    return await answer_chat(request, await read_json(request, ChatBody, service.settings.max_body_bytes))


async def answer_chat(request: Request, body: ChatBody) -> Response:
    """The answer to a request that was read."""
    check(body)
    if body.stream:
        return await stream_of(request, _events(request, body))
    return await answer(request, _completion(request, body))


def check(body: ChatBody) -> None:
    """Refuse fields that mean nothing without another one. Raises ApiError."""
    if body.stream_options is not None and not body.stream:
        raise ApiError(400, "stream_options needs stream: true", param="stream_options")
    if body.top_logprobs is not None and not body.logprobs:
        raise ApiError(400, "top_logprobs needs logprobs: true", param="top_logprobs")


async def submit(request: Request, body: ChatBody) -> Running:
    """Send a checked request to the engine. Raises ApiError, InputError."""
    service: Service = request.app.state.service
    asked = body.max_completion_tokens or body.max_tokens or service.settings.max_tokens
    logprobs = (body.top_logprobs or 0) if body.logprobs else None
    params = sampling_params(body, max_tokens=asked, logprobs=logprobs)
    adapter = adapter_of(service, body.model)
    # A thread costs more than a short text does, and 200 requests may come at once.
    formed = body.tools or body.response_format or body.tool_choice not in (None, "auto", "none")
    tools, grammar = await asyncio.to_thread(_tools_and_grammar, body) if formed else ([], None)
    tools = [] if body.tool_choice == "none" else tools
    messages = await in_thread_if_long(body.messages)
    prompt = await service.preparer.chat(messages, tools)
    return send(request, prompt, params, adapter=adapter, tools=tools, grammar=grammar)


async def _completion(request: Request, body: ChatBody) -> Completion:
    replies = await (await submit(request, body)).replies()
    tokenizer = request.app.state.service.model.processor.tokenizer
    choices = [_choice(index, reply, body, tokenizer) for index, reply in enumerate(replies)]
    return Completion(new_id("chatcmpl"), int(time.time()), body.model, choices, usage_of(replies))


async def _events(request: Request, body: ChatBody) -> AsyncGenerator[bytes, None]:
    """The chunks of all answers, in the order in which their text arrives."""
    with_usage = bool(body.stream_options and body.stream_options.include_usage)
    id, created = new_id("chatcmpl"), int(time.time())

    def chunk(choices: list[ChunkChoice], usage: UsageBody | None = None) -> bytes:
        return event(Chunk(id, created, body.model, choices, usage if with_usage else msgspec.UNSET))

    running = await submit(request, body)
    tokenizer = request.app.state.service.model.processor.tokenizer
    replies: list[Reply] = []
    splits: dict[int, AnswerSplit] = defaultdict(lambda: AnswerSplit(running.tools, running.grammar))
    call_ids: dict[tuple[int, int], str] = {}
    async for piece in running.pieces():
        index = piece.index
        if index not in splits:
            yield chunk([ChunkChoice(index, Delta(role="assistant", content=""))])
        deltas = splits[index].push(piece.text, last=piece.reply is not None)
        logprobs = choice_logprobs(piece.logprobs, tokenizer) if body.logprobs else None
        if logprobs is not None and logprobs.content and not (deltas and isinstance(deltas[0], str)):
            deltas.insert(0, "")
        for delta in deltas:
            if isinstance(delta, str):
                yield chunk([ChunkChoice(index, Delta(content=delta), logprobs=logprobs)])
                logprobs = None
            else:
                yield chunk([ChunkChoice(index, Delta(tool_calls=[_call_delta(delta, index, call_ids)]))])
        if piece.reply is not None:
            replies.append(piece.reply)
            yield chunk([ChunkChoice(index, Delta(), piece.reply.finish_reason)])
    if with_usage:
        yield chunk([], usage_of(replies))
    yield DONE


def _choice(index: int, reply: Reply, body: ChatBody, tokenizer: Tokenizer) -> Choice:
    calls = [
        ToolCallBody(new_id("call"), CalledFunction(call.name, json.dumps(call.arguments, ensure_ascii=False)))
        for call in reply.tool_calls
    ]
    content = reply.content or (None if calls else "")
    logprobs = choice_logprobs(reply.logprobs, tokenizer) if body.logprobs else None
    return Choice(index, AnswerMessage("assistant", content, None, calls), reply.finish_reason, logprobs)


def _call_delta(delta: CallDelta, answer: int, ids: dict[tuple[int, int], str]) -> ToolCallDelta:
    """A part of a call; the first one of each call has its id."""
    function = FunctionDelta(delta.name, delta.arguments)
    if (answer, delta.index) in ids:
        return ToolCallDelta(delta.index, function=function)
    ids[answer, delta.index] = new_id("call")
    return ToolCallDelta(delta.index, ids[answer, delta.index], "function", function)


def _tools_and_grammar(body: ChatBody) -> tuple[list[Tool], str | None]:
    tools = [as_tool(msgspec.to_builtins(tool)) for tool in body.tools or ()]
    match body.response_format:
        case JSONSchemaFormat(json_schema=given):
            form: ResponseFormat | None = ResponseFormat(schema=given.schema)
        case JSONObjectFormat():
            form = ResponseFormat(json_object=True)
        case _:
            form = None
    choice = body.tool_choice
    name = choice.function.name if isinstance(choice, NamedToolChoice) else choice or "auto"
    return tools, grammar_source(form, tools, name, body.parallel_tool_calls is not False)
