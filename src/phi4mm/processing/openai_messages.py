"""Messages in OpenAI's form, as dicts, to `Message`s.

Parts are text, `image_url` (a path or a data URI; nothing is fetched) and `input_audio` (base64 or a data URI), or
`input_text` and `input_image`. Calls of tools become
the text that the model writes for them. Names and ids have no place in the published format; they are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from phi4mm.config.validate import SHOWN, nearest, shown
from phi4mm.errors import InputError
from phi4mm.processing.audio import MAX_ENCODED
from phi4mm.processing.media_io import decode_base64
from phi4mm.processing.tool_calls import calls_text, read_call
from phi4mm.protocol.messages import Audio, Image, Message, Part, Role, ToolCall

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
KEYS = ("role", "content", "tool_calls", "tool_call_id", "name")
# Part -> the key that holds it, and the key in there if that is an object.
_PARTS = {
    "text": ("text", ""),
    "input_text": ("text", ""),
    "image_url": ("image_url", "url"),
    "input_image": ("image_url", "url"),
    "input_audio": ("input_audio", "data"),
}
_IGNORED = ("type", "detail", "format", "cache_control")  # keys of a part that change nothing here


def as_message(given: object, number: int) -> Message:
    """A `Message` as it is, or one of a dict; `number` names it in messages. Raises InputError."""
    if isinstance(given, Message):
        return given
    if not isinstance(given, Mapping):
        raise InputError(f"message {number} is {shown(given)}; expected a Message, or a dict with role and content")
    check_keys(given, KEYS, f"message {number}")
    role = given.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise InputError(f"message {number} has role {shown(role)}; expected one of {', '.join(_ROLES)}")
    parts = _parts(given.get("content"), number)
    if calls := called(given, number):
        parts.append(calls)
    return Message(_ROLES[role], tuple(parts))


def check_keys(given: Mapping[Any, Any], known: Collection[str], name: str) -> None:
    """Raise InputError for a key of the dict `name` that is not known; None as a value asks for nothing."""
    for key, value in given.items():
        if key not in known and value is not None:
            hint = nearest(key[:SHOWN], known) if isinstance(key, str) else f"expected one of {', '.join(known)}"
            raise InputError(f"{name} has the unknown key {shown(key)}; {hint}")


def called(message: Mapping[str, Any], number: int) -> str:
    """The text that the model writes for the tool_calls of a dict message; "" without any. Raises InputError."""
    role, calls = message.get("role"), message.get("tool_calls")
    if calls is None or (isinstance(calls, (list, tuple)) and not calls):
        return ""
    if role != "assistant" or not isinstance(calls, (list, tuple)):
        raise InputError(
            f"message {number} ({role!s:.{SHOWN}}) has tool_calls {shown(calls)}; an assistant's may be a list"
        )
    return calls_text([_call(call, number) for call in calls])


def _parts(content: object, number: int) -> list[Part]:
    if content is None:
        return []
    if isinstance(content, str):
        return [content]
    if not isinstance(content, (list, tuple)):
        raise InputError(f"message {number} has content {shown(content)}; expected text or a list of parts")
    return [_part(part, f"part {index} of message {number}") for index, part in enumerate(content, 1)]


def _part(part: object, name: str) -> Part:
    if isinstance(part, (str, Image, Audio)):
        return part
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(part, Mapping) or not isinstance(kind, str) or kind not in _PARTS:
        found = f"has type {shown(kind)}" if isinstance(part, Mapping) else f"is {shown(part)}"
        raise InputError(f"{name} {found}; expected a dict whose type is one of {', '.join(_PARTS)}")
    outer, inner = _PARTS[kind]
    value: Any = _value(part, outer, name)
    if inner and isinstance(value, Mapping):
        value = _value(value, inner, name)
    if not isinstance(value, str):
        raise InputError(f"{name} has {outer} {shown(value)}; expected text{f' as its {inner}' if inner else ''}")
    if not inner:
        return value
    if outer == "image_url":
        return Image(value)
    if value[:5].lower() == "data:":
        return Audio(value)
    return Audio(decode_base64(value, f"the data of {name}", MAX_ENCODED))


def _value(part: Mapping[str, Any], key: str, name: str) -> object:
    known = (key, *_IGNORED)
    for other, value in part.items():
        if other not in known and value is not None:
            raise InputError(f"{name} has the unknown key {shown(other)}; {nearest(str(other), known)}")
    return part.get(key)


def _call(call: object, number: int) -> ToolCall:
    inner = call.get("function") if isinstance(call, Mapping) else None
    try:
        return read_call(inner)
    except (ValueError, RecursionError):
        raise InputError(
            f"message {number} has the tool call {shown(call)}; expected "
            '{"type": "function", "function": {"name": ..., "arguments": "{...}"}}'
        ) from None
