"""What the model receives: token ids with one placeholder for each media embedding, and the processed media.

C crops of an image, the global view included; P patches and X pixels along a crop's side; F mel frames, Y mel bins.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:  # `import phi4mm` is quick without it
    import numpy as np
    import numpy.typing as npt

Adapter: TypeAlias = str  # the name of a LoRA; `vision` and `speech` are built in
AudioProjection: TypeAlias = Literal["speech", "vision"]
F32: TypeAlias = "npt.NDArray[np.float32]"


@dataclass(frozen=True, eq=False)
class ImageCrops:
    """An image cut into crops of 8 bits a channel. Its tiles are made from them and take four times the bytes.

    crops  (C - 1, X, X, 3) uint8 crops of the canvas without the global view, row by row
    grid   (rows, columns) of crops that make up the canvas; their product is C - 1
    valid  (across, down) patches of the canvas that contain image; partly padded ones count
    side   P, patches along a crop's side
    """

    crops: npt.NDArray[np.uint8]
    grid: tuple[int, int]
    valid: tuple[int, int]
    side: int

    @property
    def size(self) -> int:
        """X, pixels along a crop's side."""
        return self.crops.shape[1]


@dataclass(frozen=True, eq=False)
class ImageTiles:
    """An image as the tower reads it. Scripts written for the model card pass images in this form.

    pixels  (C, 3, X, X) float32 in about [-1, 1]; tile 0 is the global view, then crops row by row
    mask    (C, P, P) bool, true where a patch contains image (partly padded patches count)
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
        """X, pixels along a crop's side."""
        return self.pixels.shape[-1]


@dataclass(frozen=True, eq=False)
class AudioFrames:
    """A processed audio clip: `features` (F, Y) float32 log-mel, one frame each 10 ms."""

    features: F32
    seconds: float


MediaData: TypeAlias = ImageCrops | ImageTiles | AudioFrames


@dataclass(frozen=True)
class MediaSpan:
    """One image or audio clip of a prompt and its range of placeholders.

    start   index of its first placeholder
    length  number of placeholders, equal to the number of media embeddings that `data` gives
    digest  SHA-256 of `data` and its kind
    """

    kind: Literal["image", "audio"]
    start: int
    length: int
    digest: bytes
    data: MediaData


def published_adapter(kinds: Collection[Literal["image", "audio"]]) -> Adapter | None:
    """The adapter for these kinds of media by the published rule: vision with any image, speech with audio alone."""
    return "vision" if "image" in kinds else "speech" if "audio" in kinds else None


@dataclass(frozen=True)
class Prompt:
    """Token ids with placeholders expanded, and the media that fill them, in order of appearance."""

    ids: tuple[int, ...]
    spans: tuple[MediaSpan, ...] = ()

    @property
    def adapter(self) -> Adapter | None:
        """The adapter by the published rule; a request may choose another one."""
        return published_adapter({span.kind for span in self.spans})

    @property
    def audio_projection(self) -> AudioProjection:
        """The projection of the audio encoder: "vision" if the prompt has an image, else "speech", with any adapter."""
        return "vision" if any(span.kind == "image" for span in self.spans) else "speech"
