"""The request of /v1/responses, as Open Responses has it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from phi4mm.protocol.sampling import MAX_LOGPROBS
from phi4mm.server.chat_schema import Bias, Seed, Strict, Text


class FunctionTool(Strict, tag_field="type", tag="function"):
    """A function that the model may call."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedTool(Strict, tag_field="type", tag="function"):
    """The answer must call this tool."""

    name: Text


class TextFormat(Strict, tag_field="type", tag="text"):
    """Any text."""


class JSONObjectFormat(Strict, tag_field="type", tag="json_object"):
    """Any JSON object."""


class JSONSchemaFormat(Strict, tag_field="type", tag="json_schema"):
    """JSON that fits a schema."""

    name: Text
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class TextConfig(Strict):
    """The form of the answer."""

    format: TextFormat | JSONObjectFormat | JSONSchemaFormat | None = None
    verbosity: str | None = None


class StreamOptions(Strict):
    """Nothing in it has an effect."""

    include_obfuscation: Literal[False] | None = None


class ResponseBody(Strict):
    """A request of /v1/responses. Nothing is stored, so `store` is false whatever the request leaves open."""

    input: Text | Annotated[list[dict[str, Any]], Meta(min_length=1)]
    model: Text
    background: Literal[False] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    include: list[Literal["message.output_text.logprobs"]] | None = None
    instructions: str | None = None
    logit_bias: dict[str, Bias] | None = None
    max_output_tokens: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    metadata: dict[str, str] | None = None
    parallel_tool_calls: bool | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None
    reasoning: dict[str, Any] | None = None
    safety_identifier: str | None = None
    seed: Seed | None = None
    service_tier: str | None = None
    store: Literal[False] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    text: TextConfig | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    tools: list[FunctionTool] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    truncation: Literal["disabled"] | None = None
    user: str | None = None
