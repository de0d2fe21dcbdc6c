"""The request of /v1/responses, as Open Responses has it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from phi4mm.protocol.sampling import MAX_BIASED, MAX_LOGPROBS
from phi4mm.server.chat_schema import MAX_KEYS, MAX_MESSAGES, MAX_TOOLS, AnyObject, Bias, Seed, Strict, Text


class FunctionTool(Strict, tag_field="type", tag="function"):
    """A function that the model may call."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    description: str | None = None
    parameters: AnyObject | None = None
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
    schema: AnyObject
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

    input: Text | Annotated[list[AnyObject], Meta(min_length=1, max_length=MAX_MESSAGES)]
    model: Text
    background: Literal[False] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    include: Annotated[list[Literal["message.output_text.logprobs"]], Meta(max_length=1)] | None = None
    instructions: str | None = None
    logit_bias: Annotated[dict[str, Bias], Meta(max_length=MAX_BIASED)] | None = None
    max_output_tokens: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    metadata: Annotated[dict[str, str], Meta(max_length=MAX_KEYS)] | None = None
    parallel_tool_calls: bool | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: AnyObject | None = None
    prompt_cache_retention: str | None = None
    reasoning: AnyObject | None = None
    safety_identifier: str | None = None
    seed: Seed | None = None
    service_tier: str | None = None
    store: Literal[False] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    text: TextConfig | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    tools: Annotated[list[FunctionTool], Meta(max_length=MAX_TOOLS)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    truncation: Literal["disabled"] | None = None
    user: str | None = None
