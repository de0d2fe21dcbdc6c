"""What comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from phi4mm.protocol.messages import ToolCall

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True)
class Usage:
    """Tokens of one request; `prompt_tokens` includes the tokens of images and audio clips.

    cached_tokens  of the prompt's, those whose keys and values an earlier request had left; they were not run again.
                   Not compared: whether a request finds them says nothing of its answer
    cached_media   images and audio clips whose encoder output an earlier request had left; not compared either
    """

    prompt_tokens: int
    completion_tokens: int
    image_tokens: int
    audio_tokens: int
    cached_tokens: int = field(default=0, compare=False)
    cached_media: int = field(default=0, compare=False)


@dataclass(frozen=True)
class TokenLogprobs:
    """The log-probability of one token of an answer, and the likeliest tokens in its place with theirs."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Reply:
    """An answer.

    text          all that the model wrote, calls included
    tool_calls    calls of declared tools with declared arguments. A call of anything else stays text, and an answer
                  without calls has finish_reason "stop" or "length"; values may still be of another type than declared
    ids           its tokens, with the one that ended it
    logprobs      one a token where `SamplingParams.logprobs` asked for them
    alternatives  the other answers where `SamplingParams.n` asked for several
    content       the text without its calls, for the person; all of the text where there are none
    """

    text: str
    finish_reason: FinishReason
    usage: Usage
    tool_calls: tuple[ToolCall, ...]
    ids: tuple[int, ...]
    logprobs: tuple[TokenLogprobs, ...] = ()
    alternatives: tuple[Reply, ...] = ()
    content: str = ""

    def __post_init__(self) -> None:
        if not self.tool_calls:
            object.__setattr__(self, "content", self.text)
