"""Messages with their images and audio, and tools."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from phi4mm.config.validate import shown
from phi4mm.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
MediaSource: TypeAlias = "str | os.PathLike[str] | bytes | npt.NDArray[Any] | Any"


@dataclass(frozen=True)
class Image:
    """An image: a path, encoded bytes, a data URI, a binary file object, a PIL image, an array or a torch tensor.

    Arrays are (height, width), (height, width, channels) or (channels, height, width), uint8 or floats in [0, 1].
    """

    source: MediaSource


@dataclass(frozen=True)
class Audio:
    """An audio clip: a path, encoded bytes, a data URI, a binary file object, or samples with their `rate` in Hz.

    Samples are an array, torch tensor or list: (n,), (n, channels) or (channels, n), in [-1, 1], int16 or int32.
    """

    source: MediaSource
    rate: int | None = None


Part: TypeAlias = "str | Image | Audio"


@dataclass(frozen=True)
class Message:
    """One turn: a role and its parts in order. phi4mm inserts the media tags; the text contains none.

    parts   one part, or a list of them, is made a tuple
    raises  InputError for parts of another type
    """

    role: Role
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        parts: object = self.parts
        parts = [parts] if isinstance(parts, (str, Image, Audio)) else parts
        if not isinstance(parts, (list, tuple)):
            raise InputError(f"parts of a message are {shown(parts)}; expected text, Image and Audio")
        object.__setattr__(self, "parts", tuple(parts))

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
