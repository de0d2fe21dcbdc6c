"""The values that cross layers: what a person hands over, and what the model receives.

`Message` (with `Image`, `Audio`) and `Tool` are what a person writes. Processing turns them into a `Prompt`: token ids
with one placeholder per encoder row, and the media that fill those placeholders.

Shape legend: C crops of one image (the global view first), P patches along a crop's side, F mel frames, M mel bins.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Adapter: TypeAlias = Literal["vision", "speech"]
Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
MediaSource: TypeAlias = "str | os.PathLike[str] | bytes | npt.NDArray[Any] | Any"
F32: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Image:
    """A picture: a path, encoded bytes, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4) of uint8."""

    source: MediaSource


@dataclass(frozen=True)
class Audio:
    """A recording: a path, encoded bytes, or samples (n,) or (n, channels) in [-1, 1] with their `rate` in Hz."""

    source: MediaSource
    rate: int | None = None


Part: TypeAlias = "str | Image | Audio"


@dataclass(frozen=True)
class Message:
    """One turn: a role and its parts in order. Media marks are made by phi4mm, never written in the text."""

    role: Role
    parts: tuple[Part, ...]

    @classmethod
    def system(cls, text: str) -> Message:
        """Standing instructions; must be the first message."""
        return cls("system", (text,))

    @classmethod
    def user(cls, *parts: Part) -> Message:
        """What a person says, with pictures and recordings where they belong."""
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
    """A function the model may call. `parameters` is the JSON object that the prompt shows for it."""

    name: str
    description: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ToolCall:
    """A call the model asked for."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, eq=False)
class ImageTiles:
    """A processed picture.

    pixels  (C, 3, S, S) float32 in about [-1, 1], S the crop side; crop 0 is the global view, then crops row by row
    mask    (C, P, P) bool, true where a patch holds picture (partly padded patches count)
    grid    (rows, columns) of crops that make up the canvas
    """

    pixels: F32
    mask: npt.NDArray[np.bool_]
    grid: tuple[int, int]


@dataclass(frozen=True, eq=False)
class AudioFrames:
    """A processed recording: `features` (F, M) float32 log-mel, one frame a 10 ms."""

    features: F32
    seconds: float


@dataclass(frozen=True)
class MediaSpan:
    """Where one picture or recording sits in a prompt.

    start   index of its first placeholder
    length  placeholders, equal to the encoder's rows for `data`
    digest  of the processed array
    """

    kind: Literal["image", "audio"]
    start: int
    length: int
    digest: bytes
    data: ImageTiles | AudioFrames


@dataclass(frozen=True)
class Prompt:
    """Token ids with placeholders expanded, and the media that fill them, in order of appearance."""

    ids: tuple[int, ...]
    spans: tuple[MediaSpan, ...] = ()

    @property
    def adapter(self) -> Adapter | None:
        """The LoRA this row runs with: vision if any image, else speech if any audio, else none."""
        kinds = {span.kind for span in self.spans}
        if "image" in kinds:
            return "vision"
        return "speech" if "audio" in kinds else None
