"""Replies: what the public API returns as an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from phi4mm.protocol.messages import ToolCall

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True)
class Usage:
    """Tokens of one request; `prompt_tokens` includes the tokens of images and audio clips.

    cached_tokens  prompt tokens that were not run, because their keys and values were in the prefix cache. Ignored by
                   ==, because the answer does not depend on it
    cached_media   images and audio clips whose encoder output was in the encoder cache; ignored by == too
    """

    prompt_tokens: int
    completion_tokens: int
    image_tokens: int
    audio_tokens: int
    cached_tokens: int = field(default=0, compare=False)
    cached_media: int = field(default=0, compare=False)


@dataclass(frozen=True)
class TokenLogprobs:
    """The log-probability of one token of an answer, and the most likely tokens at its position with theirs.

    logprob, top      of the model, before bias, penalties and temperature
    sampling_logprob  of the token in the distribution that it was drawn from: after bias, penalties, temperature,
                      top-k, top-p and min-p; 0 for a token that was chosen as the most likely one
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]
    sampling_logprob: float = 0.0


@dataclass(frozen=True)
class Reply:
    """An answer.

    text          all that the model wrote, tool calls included
    tool_calls    calls of declared tools with declared arguments; the types of values are not checked. A call of
                  another tool stays text, and an answer without calls has finish_reason "stop" or "length"
    ids           its token ids, the one that ended it included
    logprobs      one for each token, if `SamplingParams.logprobs` asked for them
    alternatives  the other answers, if `SamplingParams.n` is above 1
    content       the text without its tool calls; all of the text where there are none
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
