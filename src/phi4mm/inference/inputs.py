"""Converts what a caller passes into messages, images and audio clips."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from phi4mm.config.validate import shown
from phi4mm.errors import ConfigError, InputError
from phi4mm.processing.openai_messages import as_message
from phi4mm.protocol.inputs import Adapter
from phi4mm.protocol.messages import Audio, Image, Message, Part
from phi4mm.protocol.request import AUTO, NONE, AudioInput, ChatRequest, ImageInput

T = TypeVar("T")


def as_messages(request: ChatRequest) -> list[Message]:
    """The request's messages; plain text becomes one user turn with its media first, as in training."""
    images, audios = as_images(request.images), as_audios(request.audios)
    if not isinstance(request.content, str):
        if images or audios or request.system is not None:
            raise InputError("content is a list of messages; put images, audios and system inside the messages")
        content = request.content
        messages = [content] if isinstance(content, (Message, Mapping)) else content
        return [as_message(message, number) for number, message in enumerate(messages, 1)]
    parts: list[Part] = [*images, *audios]
    if request.content:
        parts.append(request.content)
    system = [] if request.system is None else [Message.system(request.system)]
    return [*system, Message.user(*parts)]


def as_images(sources: Sequence[ImageInput] | None) -> list[Image]:
    """A list of image sources as `Image`s. Raises InputError for a single source without a list."""
    return [source if isinstance(source, Image) else Image(source) for source in as_list("images", sources)]


def as_audios(sources: Sequence[AudioInput] | None) -> list[Audio]:
    """A list of audio sources as `Audio`s. Raises InputError for a single source without a list."""
    return [_audio(source) for source in as_list("audios", sources)]


def as_list(name: str, sources: Iterable[T] | None) -> Sequence[T]:
    """The list, or none of None. Raises InputError for a single source: each letter of a path would be one."""
    if sources is None:
        return ()
    if isinstance(sources, (str, bytes, os.PathLike, Mapping)) or not isinstance(sources, Sequence):
        raise InputError(f"{name} is one {type(sources).__name__}; expected a list, as in {name}=[...]")
    return sources


def _audio(source: AudioInput) -> Audio:
    if isinstance(source, Audio):
        return source
    if isinstance(source, tuple):
        if len(source) != 2:
            raise InputError(f"an audio tuple has {len(source)} items; expected (samples, rate)")
        return Audio(source[0], source[1])
    return Audio(source)


def adapter_folder(name: Adapter, folder: str | os.PathLike[str]) -> Path:
    """The absolute folder of an adapter. Raises ConfigError for a reserved name, and for what is no path."""
    if name in (AUTO, NONE):
        raise ConfigError(f"an adapter cannot be named {name!r}, which has a meaning of its own; choose another name")
    if not isinstance(folder, (str, os.PathLike)):
        raise ConfigError(f"the folder of adapter {shown(name)} is {shown(folder)}; expected a path")
    return Path(os.path.expanduser(folder)).absolute()
