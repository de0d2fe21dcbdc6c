"""Conversations of dict messages, as chat templates of transformers take them, in the published format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from phi4mm.config.validate import shown
from phi4mm.errors import InputError
from phi4mm.inference.inputs import as_audios, as_images
from phi4mm.processing.chat_template import ROLE_TOKEN, ending, turn
from phi4mm.processing.openai_messages import KEYS, called, check_keys
from phi4mm.processing.tokenizer import Special
from phi4mm.protocol.messages import Audio, Image

_KEYS = (*KEYS, "tools")
_SOURCES = ("path", "url")
_PARTS = {"text": ("text",), "image": ("image", *_SOURCES), "audio": ("audio", *_SOURCES)}


@dataclass
class RenderedConversation:
    """A conversation as text in the published format, with media tags, and the media that its messages hold."""

    text: str = ""
    images: list[Image] = field(default_factory=list)
    audios: list[Audio] = field(default_factory=list)


def read_conversation(messages: Iterable[Mapping[str, Any]], add_generation_prompt: bool) -> RenderedConversation:
    """Render messages {"role": ..., "content": text or parts}; a system message may have JSON of tools under "tools".

    Parts are {"type": "text", "text": ...}, and {"type": "image"} or {"type": "audio"} with their source under that
    name, "path" or "url", or without one: then only the tag is written. As published, special tokens and media tags
    that are spelled in the text take effect. The tool_calls of an assistant become the text that the model writes for
    them; tool_call_id and name have no place in the format.
    raises  InputError
    """
    listed = [] if isinstance(messages, (str, Mapping)) or not isinstance(messages, Iterable) else list(messages)
    if not listed or not all(isinstance(message, Mapping) for message in listed):
        found = shown(listed or messages)
        raise InputError(f"the conversation is {found}; expected one list of messages, which are dicts")
    result, tags = RenderedConversation(), {"image": 0, "audio": 0}
    for number, message in enumerate(listed, 1):
        result.text += _turn(message, number, result, tags)
    result.text += ending(add_generation_prompt).value
    return result


def _turn(message: Mapping[str, Any], number: int, found: RenderedConversation, tags: dict[str, int]) -> str:
    check_keys(message, _KEYS, f"message {number}")
    role, content, tools = message.get("role"), message.get("content"), message.get("tools")
    calls = called(message, number)
    if content is None and calls:
        content = ""
    if not isinstance(role, str) or role not in ROLE_TOKEN or not isinstance(content, (str, list, tuple)):
        raise InputError(
            f"message {number} has role {shown(role)} and content of type {type(content).__name__}; expected one of "
            f"{', '.join(ROLE_TOKEN)} and text, or a list of parts"
        )
    if tools is not None and (role != "system" or not isinstance(tools, str)):
        raise InputError(
            f"message {number} is a {role} message with tools of type {type(tools).__name__}; only the system message "
            "may have tools, as JSON text"
        )
    parts = [content] if isinstance(content, str) else [_part(part, number, found, tags) for part in content]
    pieces = turn(ROLE_TOKEN[role], [*parts, calls], tools)
    return "".join(piece.value if isinstance(piece, Special) else str(piece) for piece in pieces)


def _part(part: object, number: int, found: RenderedConversation, tags: dict[str, int]) -> str:
    """The text of one part, or its media tag; its media item is added to `found`."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(part, Mapping) or not isinstance(kind, str) or kind not in _PARTS:
        raise InputError(
            f'message {number} has the part {shown(part)}; expected {{"type": "text", "text": ...}}, '
            '{"type": "image", "image": ...} or {"type": "audio", "audio": ...}'
        )
    check_keys(part, ("type", *_PARTS[kind]), f"the {kind} part of message {number}")
    named = [name for name in _PARTS[kind] if part.get(name) is not None]
    if len(named) > 1:
        raise InputError(f"the {kind} part of message {number} has {' and '.join(named)}; give one of them")
    source = part[named[0]] if named else None
    if kind == "text":
        if not isinstance(source, str):
            raise InputError(f"the text part of message {number} has text {shown(source)}; expected text")
        return source
    if source is not None and kind == "image":
        found.images += as_images([source])
    elif source is not None:
        found.audios += as_audios([source])
    tags[kind] += 1
    return f"<|{kind}_{tags[kind]}|>"
