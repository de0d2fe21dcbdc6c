"""From the items of a response's request to a chat."""

from __future__ import annotations

from typing import Any

import msgspec

from phi4mm.config.validate import shown
from phi4mm.server.chat_schema import ChatBody
from phi4mm.server.errors import ApiError
from phi4mm.server.response_schema import JSONObjectFormat, JSONSchemaFormat, NamedTool, ResponseBody

_PLAIN = ("id", "status", "type")  # of an item: nothing here depends on them
_PART = ("annotations", "logprobs", "type", "prompt_cache_breakpoint")


def chat_of(body: ResponseBody) -> ChatBody:
    """The same question as a chat. Raises ApiError, which names `input` or the field."""
    given: list[dict[str, Any]] = []
    if body.instructions:
        given.append({"role": "system", "content": body.instructions})
    if isinstance(body.input, str):
        given.append({"role": "user", "content": body.input})
    else:
        for number, item in enumerate(body.input):
            _add(given, item, f"input[{number}]")
    chat: dict[str, Any] = {
        "model": body.model,
        "messages": given,
        "max_completion_tokens": body.max_output_tokens,
        "logprobs": "message.output_text.logprobs" in (body.include or ()) or None,
        "response_format": _format(body),
        "tools": [{"type": "function", "function": _function(tool)} for tool in body.tools or ()] or None,
        "tool_choice": body.tool_choice,
    }
    if isinstance(body.tool_choice, NamedTool):
        chat["tool_choice"] = {"type": "function", "function": {"name": body.tool_choice.name}}
    if body.top_logprobs and not chat["logprobs"]:
        raise ApiError(400, "top_logprobs needs include: message.output_text.logprobs", param="top_logprobs")
    for name in ("frequency_penalty", "logit_bias", "parallel_tool_calls", "presence_penalty", "seed"):
        chat[name] = getattr(body, name)
    chat |= {"temperature": body.temperature, "top_p": body.top_p}
    chat["top_logprobs"] = body.top_logprobs if chat["logprobs"] else None
    try:
        return msgspec.convert(chat, ChatBody)
    except msgspec.ValidationError as error:
        raise ApiError(400, f"input: {error!s:.300}", param="input") from None


def _add(given: list[dict[str, Any]], item: dict[str, Any], where: str) -> None:
    """Add the message that an item is, or its part of one."""
    kind = item.get("type", "message")
    if kind == "message":
        if "tool_calls" in item:
            raise ApiError(
                400, f"{where} has tool_calls; send items of type function_call", param=f"{where}.tool_calls"
            )
        message = {key: value for key, value in item.items() if key not in (*_PLAIN, "phase")}
        if isinstance(message.get("content"), list):
            message["content"] = [_part(part, where) for part in message["content"]]
        given.append(message)
    elif kind == "function_call":
        call = {"id": item.get("call_id"), "type": "function", "function": _picked(item, ("name", "arguments"), where)}
        if not (given and given[-1].get("role") == "assistant"):
            given.append({"role": "assistant"})
        given[-1].setdefault("tool_calls", []).append(call)
    elif kind == "function_call_output":
        content = item.get("output")
        if isinstance(content, list):
            content = [_part(part, where) for part in content]
        given.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": content})
    elif kind != "reasoning":  # which other models write; this one has no use for it
        raise ApiError(
            400,
            f"{where} has type {shown(kind)}; expected message, function_call or function_call_output",
            param=f"{where}.type",
        )


def _part(part: object, where: str) -> object:
    """A part of a message in the form of the chat."""
    if not isinstance(part, dict):
        return part
    kind = part.get("type")
    rest = {key: value for key, value in part.items() if key not in _PART}
    if kind in ("input_text", "output_text"):
        return {"type": "text", **rest}
    if kind == "refusal":
        return {"type": "text", "text": rest.get("refusal")}
    if kind == "input_image":
        if rest.get("file_id") is not None:
            raise ApiError(
                400, f"{where} has a file_id, but nothing is stored; send image_url", param=f"{where}.content"
            )
        return {"type": "image_url", "image_url": {"url": rest.get("image_url"), "detail": rest.get("detail")}}
    if kind == "input_audio":
        return {"type": "input_audio", **rest}
    raise ApiError(
        400,
        f"{where} has a part of type {shown(kind)}; expected input_text, input_image or input_audio",
        param=f"{where}.content",
    )


def _picked(item: dict[str, Any], keys: tuple[str, ...], where: str) -> dict[str, Any]:
    if missing := [key for key in (*keys, "call_id") if not isinstance(item.get(key), str)]:
        raise ApiError(400, f"{where} needs {missing[0]} as text", param=f"{where}.{missing[0]}")
    return {key: item[key] for key in keys}


def _function(tool: msgspec.Struct) -> dict[str, Any]:
    return {key: value for key, value in msgspec.to_builtins(tool).items() if key != "type"}


def _format(body: ResponseBody) -> dict[str, Any] | None:
    match body.text.format if body.text else None:
        case JSONSchemaFormat() as form:
            return {"type": "json_schema", "json_schema": _function(form)}
        case JSONObjectFormat():
            return {"type": "json_object"}
    return None
