"""The request of /v1/chat/completions: OpenAI's fields, and those of the engine that vLLM names alike."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from phi4mm.protocol.sampling import MAX_ANSWERS, MAX_BIASED, MAX_LOGPROBS, MAX_STOP_STRINGS

MAX_MESSAGES, MAX_PARTS, MAX_TOOLS = 4096, 1024, 1024  # of a request, of a message, and of a request or a message
MAX_KEYS = 1024  # of an object whose form is free

Text: TypeAlias = Annotated[str, Meta(min_length=1)]
Seed: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Bias: TypeAlias = Annotated[float, Meta(ge=-100, le=100)]
AnyObject: TypeAlias = Annotated[dict[str, Any], Meta(max_length=MAX_KEYS)]


class Strict(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Base of all that a client sends: an unknown field is an error."""


class TextPart(Strict, tag_field="type", tag="text"):
    """Text."""

    text: str
    prompt_cache_breakpoint: AnyObject | None = None


class ImageURL(Strict):
    """A data URI, or a URL where the server allows it."""

    url: Text
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(Strict, tag_field="type", tag="image_url"):
    """An image."""

    image_url: ImageURL
    prompt_cache_breakpoint: AnyObject | None = None


class InputAudio(Strict):
    """Base64 of a sound file. Its format is found in the file."""

    data: Text
    format: str | None = None


class AudioPart(Strict, tag_field="type", tag="input_audio"):
    """An audio clip."""

    input_audio: InputAudio
    prompt_cache_breakpoint: AnyObject | None = None


class FunctionCall(Strict):
    """Name and arguments, the latter as JSON text."""

    name: Text
    arguments: str


class ToolCall(Strict, tag_field="type", tag="function"):
    """A call that an earlier answer made."""

    id: str
    function: FunctionCall


TextParts: TypeAlias = Annotated[list[TextPart], Meta(max_length=MAX_PARTS)]


class SystemMessage(Strict, tag_field="role", tag="system"):
    """Instructions for the whole conversation."""

    content: str | TextParts
    name: str | None = None


class DeveloperMessage(Strict, tag_field="role", tag="developer"):
    """Another name of a system message."""

    content: str | TextParts
    name: str | None = None


class UserMessage(Strict, tag_field="role", tag="user"):
    """What the user says and shows."""

    content: str | Annotated[list[TextPart | ImagePart | AudioPart], Meta(max_length=MAX_PARTS)]
    name: str | None = None


class AssistantMessage(Strict, tag_field="role", tag="assistant"):
    """An earlier answer."""

    content: str | TextParts | None = None
    name: str | None = None
    tool_calls: Annotated[list[ToolCall], Meta(max_length=MAX_TOOLS)] | None = None
    refusal: None = None
    # As the official client sends an answer back.
    annotations: Annotated[list[None], Meta(max_length=MAX_PARTS)] | None = None
    audio: None = None
    function_call: None = None


class ToolMessage(Strict, tag_field="role", tag="tool"):
    """What a called tool returned."""

    content: str | TextParts
    tool_call_id: str
    name: str | None = None


ChatMessage: TypeAlias = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage
Messages: TypeAlias = Annotated[list[ChatMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]


class Function(Strict):
    """A function that the model may call; `parameters` is a JSON schema."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    description: str | None = None
    parameters: AnyObject | None = None
    strict: bool | None = None


class FunctionTool(Strict, tag_field="type", tag="function"):
    """A tool."""

    function: Function


Tools: TypeAlias = Annotated[list[FunctionTool], Meta(max_length=MAX_TOOLS)]


class ChosenFunction(Strict):
    """The name of a declared tool."""

    name: Text


class NamedToolChoice(Strict, tag_field="type", tag="function"):
    """The answer must call this tool."""

    function: ChosenFunction


class TextFormat(Strict, tag_field="type", tag="text"):
    """Any text."""


class JSONObjectFormat(Strict, tag_field="type", tag="json_object"):
    """Any JSON object."""


class JSONSchema(Strict):
    """A JSON schema with its name."""

    name: Text
    schema: AnyObject
    description: str | None = None
    strict: bool | None = None


class JSONSchemaFormat(Strict, tag_field="type", tag="json_schema"):
    """JSON that fits a schema. It always fits, whatever `strict` says."""

    json_schema: JSONSchema


class StreamOptions(Strict):
    """Whether usage comes in a last chunk."""

    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class SamplingFields(Strict):
    """How tokens are chosen: the same in every route. None is the server's default."""

    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    logit_bias: Annotated[dict[str, Bias], Meta(max_length=MAX_BIASED)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_ANSWERS)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=100)] | None = None
    seed: Seed | None = None
    stop: Text | Annotated[list[Text], Meta(max_length=MAX_STOP_STRINGS)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None


class ChatBody(SamplingFields, kw_only=True):
    """A request of /v1/chat/completions."""

    messages: Messages
    model: Text
    logprobs: bool | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    metadata: Annotated[dict[str, str], Meta(max_length=MAX_KEYS)] | None = None
    modalities: Annotated[list[Literal["text"]], Meta(max_length=1)] | None = None
    parallel_tool_calls: bool | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: AnyObject | None = None
    prompt_cache_retention: str | None = None
    reasoning_effort: str | None = None
    response_format: TextFormat | JSONObjectFormat | JSONSchemaFormat | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    store: Literal[False] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedToolChoice | None = None
    tools: Tools | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)] | None = None
    user: str | None = None
    verbosity: str | None = None
