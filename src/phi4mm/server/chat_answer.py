"""The answers of /v1/chat/completions, whole and in chunks, in OpenAI's form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from phi4mm.protocol.response import Reply


class PromptTokensDetails(msgspec.Struct, frozen=True):
    """Where the tokens of a prompt come from, and how many needed no work."""

    text_tokens: int
    image_tokens: int
    audio_tokens: int
    cached_tokens: int


class UsageBody(msgspec.Struct, frozen=True):
    """Tokens of a request; those of all its answers together."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class TopLogprob(msgspec.Struct, frozen=True):
    """A token that was likely at a position. `bytes` joins tokens that are parts of a character."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(msgspec.Struct, frozen=True):
    """The token that was chosen at a position, and the most likely ones."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(msgspec.Struct, frozen=True):
    """One entry for each token of the text."""

    content: list[TokenLogprob]
    refusal: None = None


class CalledFunction(msgspec.Struct, frozen=True):
    """Name and arguments, the latter as JSON text."""

    name: str
    arguments: str


class ToolCallBody(msgspec.Struct, frozen=True):
    """A call of a tool."""

    id: str
    function: CalledFunction
    type: Literal["function"] = "function"


class AnswerMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """The message of an answer."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    tool_calls: list[ToolCallBody] = []


class Choice(msgspec.Struct, frozen=True):
    """One of the answers."""

    index: int
    message: AnswerMessage
    finish_reason: str
    logprobs: ChoiceLogprobs | None = None


class Completion(msgspec.Struct, frozen=True):
    """A whole answer."""

    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: UsageBody
    object: Literal["chat.completion"] = "chat.completion"


class FunctionDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of a call's name or arguments."""

    name: str | None = None
    arguments: str | None = None


class ToolCallDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of a call; `id` and `type` come with the first one."""

    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: FunctionDelta | None = None


class Delta(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is new in an answer."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    tool_calls: list[ToolCallDelta] = []


class ChunkChoice(msgspec.Struct, frozen=True):
    """What is new in one of the answers."""

    index: int
    delta: Delta
    finish_reason: str | None = None
    logprobs: ChoiceLogprobs | None = None


class Chunk(msgspec.Struct, frozen=True):
    """One event of a streamed answer. Where usage was asked for, the last one has it, and the others null."""

    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: UsageBody | msgspec.UnsetType | None = msgspec.UNSET
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"


def usage_body(prompt: int, completion: int, *, image: int = 0, audio: int = 0, cached: int = 0) -> UsageBody:
    """The usage of a request: tokens of its prompt, with those of images and audio, and of all its answers."""
    details = PromptTokensDetails(prompt - image - audio, image, audio, cached)
    return UsageBody(prompt, completion, prompt + completion, details)


def usage_of(replies: Sequence[Reply]) -> UsageBody:
    """The usage of all answers to one prompt."""
    first = replies[0].usage
    return usage_body(
        first.prompt_tokens,
        sum(reply.usage.completion_tokens for reply in replies),
        image=first.image_tokens,
        audio=first.audio_tokens,
        cached=first.cached_tokens,
    )
