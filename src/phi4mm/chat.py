"""What one asks and what comes back: the values of the Python surface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from phi4mm.options import ResponseFormat, SamplingParams
from phi4mm.prompt import Audio, Image, MediaSource, Message, Tool, ToolCall

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls"]
Content: TypeAlias = "str | Sequence[Message]"
ImageInput: TypeAlias = "Image | MediaSource"
GREEDY = SamplingParams()
AudioInput: TypeAlias = "Audio | MediaSource | tuple[MediaSource, int]"
ToolInput: TypeAlias = "Tool | Mapping[str, Any] | Callable[..., Any]"


@dataclass(frozen=True)
class ChatRequest:
    """One question of a batch.

    content  the user's words, or whole messages (then `images`, `audios` and `system` stay empty)
    images   paths, bytes, PIL images, arrays; shown before the words
    audios   paths, bytes, or (samples, rate); heard before the words
    tools    `Tool`, JSON declarations, or Python functions
    response_format  the form that the answer must have; where there are tools, calls may stand in its place
    tool_choice      "auto" leaves calls to the model, "required" asks for one or more, a tool's name for one of it
    """

    content: Content = ""
    images: Sequence[ImageInput] = ()
    audios: Sequence[AudioInput] = ()
    system: str | None = None
    tools: Sequence[ToolInput] = ()
    params: SamplingParams = GREEDY
    response_format: ResponseFormat | None = None
    tool_choice: str = "auto"


@dataclass(frozen=True)
class Usage:
    """Tokens of one request; `prompt_tokens` includes the tokens of pictures and recordings."""

    prompt_tokens: int
    completion_tokens: int
    image_tokens: int
    audio_tokens: int


@dataclass(frozen=True)
class TokenLogprobs:
    """The log-probability of one token of an answer, and the likeliest tokens in its place with theirs."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Reply:
    """An answer.

    ids           its tokens, with the one that ended it
    logprobs      one a token where `SamplingParams.logprobs` asked for them
    alternatives  the other answers where `SamplingParams.n` asked for several
    """

    text: str
    finish_reason: FinishReason
    usage: Usage
    tool_calls: tuple[ToolCall, ...]
    ids: tuple[int, ...]
    logprobs: tuple[TokenLogprobs, ...] = ()
    alternatives: tuple[Reply, ...] = ()
