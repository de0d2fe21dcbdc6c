"""What the model receives: token ids with one placeholder an encoder row, and the media that fill them.

Shape legend: C crops of one image (the global view first), P patches along a crop's side, F mel frames, M mel bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Adapter: TypeAlias = str  # the name of a LoRA; `vision` and `speech` are built in
F32: TypeAlias = npt.NDArray[np.float32]


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
