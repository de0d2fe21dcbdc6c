"""Converts what a caller passes into messages, images and audio clips."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from phi4mm.errors import ConfigError, InputError
from phi4mm.protocol.inputs import Adapter
from phi4mm.protocol.messages import Audio, Image, Message, Part
from phi4mm.protocol.request import AUTO, NONE, AudioInput, ChatRequest, ImageInput


def as_messages(request: ChatRequest) -> list[Message]:
    """The request's messages; plain text becomes one user turn with its media first, as in training."""
    if not isinstance(request.content, str):
        if request.images or request.audios or request.system is not None:
            raise InputError("content is a list of messages; put images, audios and system inside the messages")
        return list(request.content)
    parts: list[Part] = [*as_images(request.images), *as_audios(request.audios)]
    if request.content:
        parts.append(request.content)
    system = [] if request.system is None else [Message.system(request.system)]
    return [*system, Message.user(*parts)]


def as_images(sources: Sequence[ImageInput]) -> list[Image]:
    """A list of image sources as `Image`s. Raises InputError for a single source without a list."""
    _refuse_single("images", sources)
    return [source if isinstance(source, Image) else Image(source) for source in sources]


def as_audios(sources: Sequence[AudioInput]) -> list[Audio]:
    """A list of audio sources as `Audio`s. Raises InputError for a single source without a list."""
    _refuse_single("audios", sources)
    return [_audio(source) for source in sources]


def _audio(source: AudioInput) -> Audio:
    if isinstance(source, Audio):
        return source
    if isinstance(source, tuple):
        if len(source) != 2:
            raise InputError(f"an audio tuple has {len(source)} items; expected (samples, rate)")
        return Audio(source[0], source[1])
    return Audio(source)


def _refuse_single(name: str, sources: object) -> None:
    """Raise InputError for a single source: a path is a sequence too, and each letter would be read as a path."""
    if isinstance(sources, (str, bytes, os.PathLike, Mapping)) or not isinstance(sources, Sequence):
        raise InputError(f"{name} is one {type(sources).__name__}; expected a list, as in {name}=[...]")


def adapter_folder(name: Adapter, folder: str | os.PathLike[str]) -> Path:
    """The absolute folder of an adapter. Raises ConfigError for a reserved name."""
    if name in (AUTO, NONE):
        raise ConfigError(f"an adapter cannot be named {name!r}, which has a meaning of its own; choose another name")
    return Path(os.path.expanduser(folder)).absolute()
