"""What people hand over, as messages, images and audio."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from phi4mm.errors import ConfigError, InputError
from phi4mm.protocol.inputs import Adapter
from phi4mm.protocol.messages import Audio, Image, Message, Part
from phi4mm.protocol.request import AUTO, NONE, AudioInput, ChatRequest, ImageInput


def as_messages(request: ChatRequest) -> list[Message]:
    """One user turn with media first, as the model was trained, or the messages as they are."""
    if not isinstance(request.content, str):
        if request.images or request.audios or request.system is not None:
            raise InputError("images, audios and system go inside the messages when content is a list of messages")
        return list(request.content)
    parts: list[Part] = [*as_images(request.images), *as_audios(request.audios)]
    if request.content:
        parts.append(request.content)
    system = [] if request.system is None else [Message.system(request.system)]
    return [*system, Message.user(*parts)]


def as_images(sources: Sequence[ImageInput]) -> list[Image]:
    """Whatever names images, as `Image`s. Raises InputError for a lone one."""
    _refuse_single("images", sources)
    return [source if isinstance(source, Image) else Image(source) for source in sources]


def as_audios(sources: Sequence[AudioInput]) -> list[Audio]:
    """Whatever names audio clips, as `Audio`s. Raises InputError for a lone one."""
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
    """A lone path is a sequence too, of letters: say so instead of opening its letters one by one."""
    if isinstance(sources, (str, bytes, os.PathLike, Mapping)) or not isinstance(sources, Sequence):
        raise InputError(f"{name} is one {type(sources).__name__}; expected a list, as in {name}=[...]")


def adapter_folder(name: Adapter, folder: str | os.PathLike[str]) -> Path:
    """The folder of an adapter to be known by `name`. Raises ConfigError for a name that means something else."""
    if name in (AUTO, NONE):
        raise ConfigError(f"an adapter cannot be named {name!r}, which is a choice of its own; name it otherwise")
    return Path(os.path.expanduser(folder)).absolute()
