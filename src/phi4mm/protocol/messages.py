"""Messages with their images and audio, and tools."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy.typing as npt

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
MediaSource: TypeAlias = "str | os.PathLike[str] | bytes | npt.NDArray[Any] | Any"


@dataclass(frozen=True)
class Image:
    """An image: a path, encoded bytes, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4) of uint8."""

    source: MediaSource


@dataclass(frozen=True)
class Audio:
    """An audio clip: a path, encoded bytes, or samples (n,) or (n, channels) in [-1, 1] with their `rate` in Hz."""

    source: MediaSource
    rate: int | None = None


Part: TypeAlias = "str | Image | Audio"


@dataclass(frozen=True)
class Message:
    """One turn: a role and its parts in order. phi4mm inserts the media tags; the text contains none."""

    role: Role
    parts: tuple[Part, ...]

    @classmethod
    def system(cls, text: str) -> Message:
        """Instructions for the whole conversation; must be the first message."""
        return cls("system", (text,))

    @classmethod
    def user(cls, *parts: Part) -> Message:
        """What the user says: text, images and audio clips in their order."""
        return cls("user", parts)

    @classmethod
    def assistant(cls, text: str) -> Message:
        """An earlier answer of the model."""
        return cls("assistant", (text,))

    @classmethod
    def tool(cls, text: str) -> Message:
        """What a called tool returned."""
        return cls("tool", (text,))


@dataclass(frozen=True)
class Tool:
    """A function that the model may call. `parameters` is written into the prompt as a JSON object."""

    name: str
    description: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ToolCall:
    """A call that the model requested."""

    name: str
    arguments: dict[str, Any]
