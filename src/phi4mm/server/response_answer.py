"""The answer of /v1/responses: an object that grows, and its items."""

from __future__ import annotations

import time
from typing import Any, Literal

import msgspec

from phi4mm.protocol.response import Usage
from phi4mm.server.answering import new_id
from phi4mm.server.chat_answer import TokenLogprob
from phi4mm.server.response_schema import FunctionTool, ResponseBody


class OutputText(msgspec.Struct):
    """The text of a message."""

    text: str = ""
    annotations: list[None] = msgspec.field(default_factory=list)
    logprobs: list[TokenLogprob] = msgspec.field(default_factory=list)
    type: Literal["output_text"] = "output_text"


class MessageItem(msgspec.Struct, tag_field="type", tag="message"):
    """A message of the model."""

    id: str
    content: list[OutputText] = msgspec.field(default_factory=list)
    status: str = "in_progress"
    role: Literal["assistant"] = "assistant"


class CallItem(msgspec.Struct, tag_field="type", tag="function_call"):
    """A call of a tool."""

    id: str
    call_id: str
    name: str
    arguments: str = ""
    status: str = "in_progress"


class InputDetails(msgspec.Struct, frozen=True):
    """Tokens that were found in the prefix cache; no request pays for writing to it."""

    cached_tokens: int
    cache_write_tokens: int = 0


class OutputDetails(msgspec.Struct, frozen=True):
    """The model does not reason apart from its answer."""

    reasoning_tokens: int = 0


class ResponseUsage(msgspec.Struct, frozen=True):
    """Tokens of the request."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class ResponseError(msgspec.Struct, frozen=True):
    """Why an answer that had begun failed."""

    message: str
    code: Literal["server_error"] = "server_error"


class ResponseTool(msgspec.Struct, frozen=True):
    """A declared tool, as it was understood."""

    name: str
    description: str | None
    parameters: dict[str, Any] | None
    strict: bool | None
    type: Literal["function"] = "function"


class ResponseObject(msgspec.Struct):
    """All that is known of an answer. Every field of Open Responses is there."""

    id: str
    created_at: int
    model: str
    instructions: str | None
    tools: list[ResponseTool]
    tool_choice: Any
    parallel_tool_calls: bool
    text: Any
    temperature: float
    top_p: float
    presence_penalty: float
    frequency_penalty: float
    top_logprobs: int
    max_output_tokens: int | None
    metadata: dict[str, str]
    safety_identifier: str | None
    prompt_cache_key: str | None
    status: str = "in_progress"
    completed_at: int | None = None
    incomplete_details: dict[str, str] | None = None
    error: ResponseError | None = None
    output: list[MessageItem | CallItem] = msgspec.field(default_factory=list)
    usage: ResponseUsage | None = None
    reasoning: dict[str, None] | None = None
    previous_response_id: None = None
    max_tool_calls: None = None
    truncation: Literal["disabled"] = "disabled"
    background: Literal[False] = False
    store: Literal[False] = False
    service_tier: Literal["default"] = "default"
    object: Literal["response"] = "response"

    def end(self, usage: Usage, *, cut: bool) -> None:
        """The answer has ended; `cut` where it reached its most tokens."""
        self.status = "incomplete" if cut else "completed"
        self.incomplete_details = {"reason": "max_output_tokens"} if cut else None
        self.completed_at = None if cut else int(time.time())
        total = usage.prompt_tokens + usage.completion_tokens
        details = InputDetails(usage.cached_tokens)
        self.usage = ResponseUsage(usage.prompt_tokens, details, usage.completion_tokens, OutputDetails(), total)

    def fail(self, message: str) -> None:
        """The answer cannot go on; what had come of it stays."""
        self.status, self.error = "failed", ResponseError(message)
        if self.output and self.output[-1].status == "in_progress":
            self.output[-1].status = "incomplete"


def begin_response(body: ResponseBody) -> ResponseObject:
    """The answer before its first token."""
    form: Any = msgspec.to_builtins(body.text.format) if body.text and body.text.format else {"type": "text"}
    form = {key: value for key, value in form.items() if value is not None}
    return ResponseObject(
        id=new_id("resp").replace("-", "_"),
        created_at=int(time.time()),
        model=body.model,
        instructions=body.instructions,
        tools=[_tool(tool) for tool in body.tools or ()],
        tool_choice=body.tool_choice or "auto",
        parallel_tool_calls=body.parallel_tool_calls is not False,
        text={"format": form},
        temperature=body.temperature or 0.0,
        top_p=1.0 if body.top_p is None else body.top_p,
        presence_penalty=body.presence_penalty or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        top_logprobs=body.top_logprobs or 0,
        max_output_tokens=body.max_output_tokens,
        metadata=body.metadata or {},
        safety_identifier=body.safety_identifier,
        prompt_cache_key=body.prompt_cache_key,
    )


def _tool(tool: FunctionTool) -> ResponseTool:
    return ResponseTool(tool.name, tool.description, tool.parameters, tool.strict)
