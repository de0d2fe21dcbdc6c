"""From the messages of a request to those of the processor."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from phi4mm.processing.openai_messages import as_message
from phi4mm.protocol.messages import Message
from phi4mm.server.chat_schema import ChatMessage, TextPart

_WITHOUT_EFFECT = ("refusal", "annotations", "audio", "function_call")


SHORT = 100  # parts that are read on the event loop


async def in_thread_if_long(messages: Sequence[ChatMessage]) -> list[Message]:
    """`read_messages`, in a thread where there is base64 to decode, or much else."""
    parts = [part for message in messages if isinstance(message.content, list) for part in message.content]
    if len(messages) + len(parts) > SHORT or any(not isinstance(part, TextPart) for part in parts):
        return await asyncio.to_thread(read_messages, messages)
    return read_messages(messages)


def read_messages(messages: Sequence[ChatMessage]) -> list[Message]:
    """The messages as the processor takes them. Decodes base64, so it is for a thread. Raises InputError."""
    return [as_message(_plain(message), number) for number, message in enumerate(messages, 1)]


def _plain(message: ChatMessage) -> dict[str, Any]:
    """The message as a dict of what the processor reads."""
    plain: dict[str, Any] = msgspec.to_builtins(message)
    for key in _WITHOUT_EFFECT:
        plain.pop(key, None)
    if isinstance(plain.get("content"), list):
        for part in plain["content"]:
            part.pop("prompt_cache_breakpoint", None)
    return plain
