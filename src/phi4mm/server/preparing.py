"""Prepares prompts beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from phi4mm.processing.processor import Processor
from phi4mm.protocol.inputs import Prompt
from phi4mm.protocol.messages import Audio, Image, Message, Tool


class Preparer:
    """Turns the messages of requests into prompts, in threads."""

    def __init__(self, processor: Processor) -> None:
        self._processor = processor

    async def chat(self, messages: Sequence[Message], tools: Sequence[Tool | Mapping[str, Any]] = ()) -> Prompt:
        """The prompt of a conversation. Raises InputError."""
        return await asyncio.to_thread(self._processor.chat, messages, tools)

    async def raw(self, prompt: str, images: Sequence[Image] = (), audios: Sequence[Audio] = ()) -> Prompt:
        """A prompt in the published format. Raises InputError."""
        return await asyncio.to_thread(self._processor.prompt, prompt, images, audios)

    def close(self) -> None:
        """Nothing to stop."""
