"""POST /v1/chat/completions."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from phi4mm.inference.stream import Stream
from phi4mm.processing.grammar import grammar_source
from phi4mm.processing.openai_messages import as_message
from phi4mm.processing.tokenizer import Tokenizer
from phi4mm.processing.tool_calls import as_tool
from phi4mm.protocol.messages import Message, Tool
from phi4mm.protocol.request import ResponseFormat
from phi4mm.protocol.response import Reply, TokenLogprobs
from phi4mm.server.chat_answer import (
    AnswerMessage,
    CalledFunction,
    Choice,
    ChoiceLogprobs,
    Chunk,
    ChunkChoice,
    Completion,
    Delta,
    FunctionDelta,
    TokenLogprob,
    ToolCallBody,
    ToolCallDelta,
    TopLogprob,
    UsageBody,
    usage_body,
)
from phi4mm.server.chat_schema import (
    ChatBody,
    ChatMessage,
    JSONObjectFormat,
    JSONSchemaFormat,
    NamedToolChoice,
)
from phi4mm.server.errors import ApiError, json_response
from phi4mm.server.json_body import read_json
from phi4mm.server.models import adapter_of
from phi4mm.server.sampling import sampling_params
from phi4mm.server.service import Service
from phi4mm.server.sse import DONE, EventStream, begin, event
from phi4mm.server.waiting import unless_left


async def chat_completions(request: Request) -> Response:
    """Answer a conversation, whole or as events."""
    service: Service = request.app.state.service
    body = await read_json(request, ChatBody, service.settings.max_body_bytes)
    return await answer_chat(request, body)


async def answer_chat(request: Request, body: ChatBody) -> Response:
    """The answer to a request that was read, for the model that it names."""
    service: Service = request.app.state.service
    if body.stream_options is not None and not body.stream:
        raise ApiError(400, "stream_options needs stream: true", param="stream_options")
    if not body.stream:
        completion = await unless_left(request.receive, service.stopping, _completion(service, body))
        return json_response(completion)
    events = _events(service, body)
    first = await begin(request.receive, service.stopping, events)
    return EventStream(first, events, service.stopping, request.state.request_id)


async def _completion(service: Service, body: ChatBody) -> Completion:
    with await submit(service, body) as stream:
        first = await stream.afinish()
    tokenizer = service.model.processor.tokenizer
    replies = [first, *first.alternatives]
    choices = [_choice(index, reply, body, tokenizer) for index, reply in enumerate(replies)]
    usage = usage_body(first.usage, sum(reply.usage.completion_tokens for reply in replies))
    return Completion(new_id("chatcmpl"), int(time.time()), body.model, choices, usage)


async def _events(service: Service, body: ChatBody) -> AsyncGenerator[bytes, None]:
    """The chunks of all answers, in the order in which their text arrives."""
    with_usage = bool(body.stream_options and body.stream_options.include_usage)
    id, created = new_id("chatcmpl"), int(time.time())

    def chunk(choices: list[ChunkChoice], usage: UsageBody | None = None) -> bytes:
        return event(Chunk(id, created, body.model, choices, usage if with_usage else msgspec.UNSET))

    replies: list[Reply] = []
    begun: set[int] = set()
    with await submit(service, body) as stream:
        tokenizer = service.model.processor.tokenizer
        async for piece in stream.pieces():
            if piece.index not in begun:
                begun.add(piece.index)
                yield chunk([ChunkChoice(piece.index, Delta(role="assistant", content=""))])
            text = "" if body.tools else piece.text
            if piece.reply is not None and body.tools:
                text = piece.reply.content
            logprobs = choice_logprobs(piece.logprobs, tokenizer) if body.logprobs else None
            if text or (logprobs and logprobs.content):
                yield chunk([ChunkChoice(piece.index, Delta(content=text), logprobs=logprobs)])
            if piece.reply is not None:
                replies.append(piece.reply)
                if calls := _call_deltas(piece.reply):
                    yield chunk([ChunkChoice(piece.index, Delta(tool_calls=calls))])
                yield chunk([ChunkChoice(piece.index, Delta(), piece.reply.finish_reason)])
    if with_usage:
        usage = usage_body(replies[0].usage, sum(reply.usage.completion_tokens for reply in replies))
        yield chunk([], usage)
    yield DONE


async def submit(service: Service, body: ChatBody) -> Stream:
    """Send the request to the engine. Raises ApiError, InputError."""
    model, settings = service.model, service.settings
    adapter = adapter_of(service, body.model)
    asked = body.max_completion_tokens or body.max_tokens or settings.max_tokens
    logprobs = (body.top_logprobs or 0) if body.logprobs else None
    if body.top_logprobs is not None and not body.logprobs:
        raise ApiError(400, "top_logprobs needs logprobs: true", param="top_logprobs")
    params = sampling_params(body, max_tokens=asked, logprobs=logprobs)
    tools = [] if body.tool_choice == "none" else [as_tool(msgspec.to_builtins(tool)) for tool in body.tools or ()]
    grammar = await asyncio.to_thread(_grammar, body, tools)
    messages = await asyncio.to_thread(read_messages, body.messages)
    prompt = await service.preparer.chat(messages, tools)
    return model.submit(prompt, params, tools=tools, grammar=grammar, adapter=adapter)


def read_messages(messages: Sequence[ChatMessage]) -> list[Message]:
    """The messages as the processor takes them. Decodes base64, so it is for a thread. Raises InputError."""
    return [as_message(_plain(message), number) for number, message in enumerate(messages, 1)]


def new_id(prefix: str) -> str:
    """An id that nobody else has."""
    return f"{prefix}-{secrets.token_hex(12)}"


def choice_logprobs(entries: Sequence[TokenLogprobs], tokenizer: Tokenizer) -> ChoiceLogprobs:
    """The log-probabilities of the tokens of a text; tokens that add nothing to it, as the last one, are left out."""
    content = []
    for entry in entries:
        if data := tokenizer.answer_bytes(entry.token):
            top = [TopLogprob(_text(tokenizer, id), value, _bytes(tokenizer, id)) for id, value in entry.top]
            content.append(TokenLogprob(_text(tokenizer, entry.token), entry.logprob, list(data), top))
    return ChoiceLogprobs(content)


def _text(tokenizer: Tokenizer, id: int) -> str:
    return tokenizer.token_bytes(id).decode(errors="replace")


def _bytes(tokenizer: Tokenizer, id: int) -> list[int]:
    return list(tokenizer.token_bytes(id))


def _choice(index: int, reply: Reply, body: ChatBody, tokenizer: Tokenizer) -> Choice:
    calls = [
        ToolCallBody(new_id("call"), CalledFunction(call.name, json.dumps(call.arguments, ensure_ascii=False)))
        for call in reply.tool_calls
    ]
    content = reply.content or (None if calls else "")
    logprobs = choice_logprobs(reply.logprobs, tokenizer) if body.logprobs else None
    return Choice(index, AnswerMessage("assistant", content, None, calls), reply.finish_reason, logprobs)


def _call_deltas(reply: Reply) -> list[ToolCallDelta]:
    return [
        ToolCallDelta(
            number,
            new_id("call"),
            "function",
            FunctionDelta(call.name, json.dumps(call.arguments, ensure_ascii=False)),
        )
        for number, call in enumerate(reply.tool_calls)
    ]


def _grammar(body: ChatBody, tools: Sequence[Tool]) -> str | None:
    match body.response_format:
        case JSONSchemaFormat(json_schema=given):
            form: ResponseFormat | None = ResponseFormat(schema=given.schema)
        case JSONObjectFormat():
            form = ResponseFormat(schema={"type": "object"})
        case _:
            form = None
    match body.tool_choice:
        case NamedToolChoice(function=chosen):
            return grammar_source(form, tools, chosen.name)
        case "required":
            return grammar_source(form, tools, "required")
    return grammar_source(form, tools)


def _plain(message: ChatMessage) -> dict[str, Any]:
    """The message as a dict of what the processor reads."""
    plain: dict[str, Any] = msgspec.to_builtins(message)
    for key in ("refusal", "annotations", "audio", "function_call"):
        plain.pop(key, None)
    if isinstance(plain.get("content"), list):
        for part in plain["content"]:
            part.pop("prompt_cache_breakpoint", None)
    return plain
