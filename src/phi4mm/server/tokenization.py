"""POST /tokenize and /detokenize, in vLLM's form."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from phi4mm.server.chat_messages import in_thread_if_long
from phi4mm.server.chat_schema import Messages, Strict, Tools
from phi4mm.server.completion_schema import MAX_IDS, Id
from phi4mm.server.errors import ApiError, json_response
from phi4mm.server.json_body import read_json
from phi4mm.server.service import Service


class TokenizeBody(Strict):
    """Either a raw prompt, or messages with their tools."""

    model: str | None = None
    prompt: str | None = None
    messages: Messages | None = None
    tools: Tools | None = None


class Tokens(msgspec.Struct, frozen=True):
    """Token ids of a prompt, its media included."""

    count: int
    max_model_len: int
    tokens: list[int]


class DetokenizeBody(Strict):
    """Token ids."""

    tokens: Annotated[list[Id], Meta(max_length=MAX_IDS)]
    model: str | None = None


class Text(msgspec.Struct, frozen=True):
    """The text of tokens, special ones spelled out."""

    prompt: str


async def tokenize(request: Request) -> Response:
    """The token ids that a prompt or a conversation becomes."""
    service: Service = request.app.state.service
    body = await read_json(request, TokenizeBody, service.settings.max_body_bytes)
    processor = service.model.processor
    if (body.prompt is None) == (body.messages is None):
        raise ApiError(400, "the body has prompt and messages, or neither; expected one of them", param="prompt")
    if body.messages is not None:
        messages = await in_thread_if_long(body.messages)
        prompt = await service.preparer.chat(messages, [msgspec.to_builtins(tool) for tool in body.tools or ()])
        ids = list(prompt.ids)
    else:
        ids = await asyncio.to_thread(processor.tokenizer.encode_prompt, body.prompt or "")
    return json_response(Tokens(len(ids), processor.context, ids))


async def detokenize(request: Request) -> Response:
    """The text of token ids."""
    service: Service = request.app.state.service
    body = await read_json(request, DetokenizeBody, service.settings.max_body_bytes)
    text = await asyncio.to_thread(service.model.processor.tokenizer.decode, body.tokens, skip_special=False)
    return json_response(Text(text))
