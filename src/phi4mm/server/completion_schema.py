"""The request and the answers of /v1/completions, in OpenAI's form."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from phi4mm.protocol.sampling import MAX_LOGPROBS
from phi4mm.server.chat_answer import UsageBody
from phi4mm.server.chat_schema import SamplingFields, StreamOptions, Text

MAX_PROMPTS = 64  # in one request
MAX_IDS = 2**17  # of a prompt: the longest context
Id: TypeAlias = Annotated[int, Meta(ge=0, lt=2**31)]
Ids: TypeAlias = Annotated[list[Id], Meta(min_length=1, max_length=MAX_IDS)]
AnyIds: TypeAlias = Annotated[list[int], Meta(max_length=MAX_IDS)]  # checked with their prompt


class CompletionBody(SamplingFields, kw_only=True):
    """A request of /v1/completions: raw prompts in the published chat format, or their token ids."""

    model: Text
    prompt: Text | Annotated[list[str | int | AnyIds], Meta(min_length=1, max_length=MAX_IDS)]
    best_of: Literal[1] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)] | None = None
    max_tokens: Annotated[int, Meta(ge=0, le=2**31)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None


class Logprobs(msgspec.Struct, frozen=True):
    """One entry for each token. The first token of an echoed prompt has no log-probability."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class TextChoice(msgspec.Struct, frozen=True):
    """One of the answers, or what is new in it."""

    index: int
    text: str
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class TextCompletion(msgspec.Struct, frozen=True):
    """A whole answer, or one event of a streamed one."""

    id: str
    created: int
    model: str
    choices: list[TextChoice]
    usage: UsageBody | msgspec.UnsetType | None = msgspec.UNSET
    object: Literal["text_completion"] = "text_completion"
