"""Encode media, for training and inference alike: processed images and audio in, media embeddings out.

C crops of all images, P patches along a crop's side, X pixels along it, A clips, F mel frames, Y mel bins, W audio
encoder width, D model width. Nothing here turns gradients off: a caller that wants none does so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from phi4mm.config.model import CONV_STRIDE
from phi4mm.errors import ConfigError
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.protocol.inputs import AudioFrames, AudioProjection, ImageTiles


@dataclass(frozen=True)
class ImageBatch:
    """Crops of several images end to end.

    pixels  (C, 3, X, X) float32
    mask    (C, P, P) bool, true where a patch holds part of the image
    grids   (rows, columns) of crops of each image; C is the sum of 1 + rows * columns, for the global view
    """

    pixels: Tensor
    mask: Tensor
    grids: tuple[tuple[int, int], ...]

    def to(self, device: torch.device) -> ImageBatch:
        """The same on another device."""
        return ImageBatch(self.pixels.to(device), self.mask.to(device), self.grids)


@dataclass(frozen=True)
class AudioBatch:
    """Audio clips, padded to the longest of them.

    features  (A, F, Y) float32 log-mel, zero past each clip's end
    frames    (A,) int64 frames of each clip, always on the CPU
    """

    features: Tensor
    frames: Tensor

    @property
    def tokens(self) -> Tensor:
        """(A,) int64 encoder tokens of each clip, on the CPU."""
        return -(-self.frames // CONV_STRIDE)

    def to(self, device: torch.device) -> AudioBatch:
        """The same on another device, except `frames`, which stays on the CPU."""
        return AudioBatch(self.features.to(device), self.frames)


@dataclass(frozen=True)
class EncodedAudio:
    """The audio encoder's output for a batch.

    hidden      (A, ceil(F/8), W) before projection; undefined past a clip's own tokens
    embeddings  one (tokens, D) tensor for each clip
    """

    hidden: Tensor
    embeddings: list[Tensor]


def batch_images(images: Sequence[ImageTiles]) -> ImageBatch:
    """Processed images as one batch on the CPU; a single image is not copied."""
    pixels, mask = [image.pixels for image in images], [image.mask for image in images]
    return ImageBatch(
        torch.from_numpy(pixels[0] if len(images) == 1 else np.concatenate(pixels)),
        torch.from_numpy(mask[0] if len(images) == 1 else np.concatenate(mask)),
        tuple(image.grid for image in images),
    )


def batch_audio(clips: Sequence[AudioFrames]) -> AudioBatch:
    """Processed clips as one batch on the CPU; a single clip is not copied."""
    frames = torch.tensor([len(clip.features) for clip in clips])
    if len(clips) == 1:
        return AudioBatch(torch.from_numpy(clips[0].features)[None], frames)
    padded = torch.zeros(len(clips), int(frames.max()), clips[0].features.shape[1])
    for target, clip in zip(padded, clips, strict=True):
        target[: len(clip.features)] = torch.from_numpy(clip.features)
    return AudioBatch(padded, frames)


def encode_images(model: Phi4MM, images: ImageBatch) -> list[Tensor]:
    """One (tokens, D) tensor for each image. Raises ConfigError where the model has no image tower."""
    if model.image is None:
        raise ConfigError(f"{len(images.grids)} images were given to a model without its image encoder; build it whole")
    embeddings: list[Tensor] = model.image(images.pixels, images.mask, list(images.grids))
    return embeddings


def encode_audio(model: Phi4MM, clips: AudioBatch, projections: Sequence[AudioProjection]) -> EncodedAudio:
    """Encode clips in one batch, each with its own projection; no clip's result depends on the others.

    raises  ConfigError where the model has no audio encoder
    """
    if model.audio is None:
        raise ConfigError(f"{len(clips.frames)} clips were given to a model without its audio encoder; build it whole")
    hidden: Tensor = model.audio.encoder(clips.features, clips.frames)
    return EncodedAudio(hidden, model.audio.project(hidden, clips.frames, projections))
