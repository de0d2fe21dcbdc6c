"""What the model receives: token ids with one placeholder an encoder output, and the media that fill them.

Shape legend: N crops of one image, C those and its global view, P patches along a crop's side, S pixels along it,
F mel frames, M mel bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Adapter: TypeAlias = str  # the name of a LoRA; `vision` and `speech` are built in
AudioProjection: TypeAlias = Literal["speech", "vision"]
F32: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ImageCrops:
    """An image cut into crops of 8 bits a channel: all that its tiles are made from, in a quarter of their bytes.

    crops  (N, S, S, 3) uint8 of the canvas, row by row
    grid   (rows, columns) of crops that make up the canvas; N is their product
    valid  (across, down) patches of the canvas that hold image; partly padded ones count
    side   P, patches along a crop's side
    """

    crops: npt.NDArray[np.uint8]
    grid: tuple[int, int]
    valid: tuple[int, int]
    side: int

    @property
    def size(self) -> int:
        """S, pixels along a crop's side."""
        return self.crops.shape[1]


@dataclass(frozen=True, eq=False)
class ImageTiles:
    """An image as the tower reads it; the model card's scripts hand images over in this form.

    pixels  (C, 3, S, S) float32 in about [-1, 1]; tile 0 is the global view, then crops row by row
    mask    (C, P, P) bool, true where a patch holds image (partly padded patches count)
    grid    (rows, columns) of crops that make up the canvas
    """

    pixels: F32
    mask: npt.NDArray[np.bool_]
    grid: tuple[int, int]

    @property
    def side(self) -> int:
        """P, patches along a crop's side."""
        return self.mask.shape[-1]

    @property
    def size(self) -> int:
        """S, pixels along a crop's side."""
        return self.pixels.shape[-1]


@dataclass(frozen=True, eq=False)
class AudioFrames:
    """A processed audio clip: `features` (F, M) float32 log-mel, one frame a 10 ms."""

    features: F32
    seconds: float


MediaData: TypeAlias = ImageCrops | ImageTiles | AudioFrames


@dataclass(frozen=True)
class MediaSpan:
    """Where one image or audio clip sits in a prompt.

    start   index of its first placeholder
    length  placeholders, equal to the encoder's rows for `data`
    digest  of `data`, its kind included
    """

    kind: Literal["image", "audio"]
    start: int
    length: int
    digest: bytes
    data: MediaData


@dataclass(frozen=True)
class Prompt:
    """Token ids with placeholders expanded, and the media that fill them, in order of appearance."""

    ids: tuple[int, ...]
    spans: tuple[MediaSpan, ...] = ()

    @property
    def adapter(self) -> Adapter | None:
        """The adapter by the published rule: vision if there is any image, else speech if any audio, else none.

        A request may name another one.
        """
        kinds = {span.kind for span in self.spans}
        if "image" in kinds:
            return "vision"
        return "speech" if "audio" in kinds else None

    @property
    def audio_projection(self) -> AudioProjection:
        """What audio encodings go through: a projection of their own beside an image, whatever the adapter."""
        return "vision" if any(span.kind == "image" for span in self.spans) else "speech"
