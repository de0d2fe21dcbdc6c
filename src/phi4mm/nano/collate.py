"""Rows to tensors: one packed batch, its media encoded together.

B rows, T packed tokens, K labels, C crops, P patches a side, S pixels a side, N clips, F mel frames, M mel bins,
D model width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from phi4mm.model.batch import Row as PackedRow
from phi4mm.nano.data import Row
from phi4mm.processing.pixels import to_tiles
from phi4mm.protocol.inputs import F32, Adapter, AudioFrames, ImageTiles


@dataclass(frozen=True)
class Clips:
    """Recordings padded together: features (N, F, M) float32, frames (N,) int64, and the word ids of each.

    uttered  (N, S) int64, the word id at each encoder token, 0 between words and -1 past the end, where that is known
    """

    features: Tensor
    frames: Tensor
    spoken: tuple[tuple[int, ...], ...]
    uttered: Tensor | None = None


@dataclass(frozen=True)
class Pictures:
    """Crops of all pictures end to end: pixels (C, 3, S, S), mask (C, P, P) bool; grid and word ids of each picture."""

    pixels: Tensor
    mask: Tensor
    grids: list[tuple[int, int]]
    shown: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class TrainBatch:
    """What one training step works on.

    ids          (T,) int64 packed prompts and answers
    outputs      (K,) int64 packed index of the token before each label; labels (K,) int64
    media_index  (M,) int64 packed indices of placeholder rows: those of all pictures, then those of all clips
    projections  the audio projection of each clip
    """

    ids: Tensor
    rows: tuple[PackedRow, ...]
    outputs: Tensor
    labels: Tensor
    media_index: Tensor
    pictures: Pictures | None
    clips: Clips | None
    projections: list[Adapter]


def collate(rows: Sequence[Row]) -> TrainBatch:
    """Pack rows end to end, without padding, and gather their media."""
    ids: list[int] = []
    outputs: list[int] = []
    labels: list[int] = []
    index: dict[str, list[int]] = {"image": [], "audio": []}
    tiles: list[ImageTiles] = []
    frames: list[F32] = []
    projections: list[Adapter] = []
    for row in rows:
        start = len(ids)
        for span in row.prompt.spans:
            index[span.kind] += range(start + span.start, start + span.start + span.length)
            if isinstance(span.data, AudioFrames):
                frames.append(span.data.features)
                projections.append("vision" if row.prompt.adapter == "vision" else "speech")
            else:
                tiles.append(to_tiles(span.data))
        ids += (*row.prompt.ids, *row.answer[:-1])
        outputs += range(start + len(row.prompt.ids) - 1, len(ids))
        labels += row.answer
    return TrainBatch(
        ids=torch.tensor(ids),
        rows=tuple(PackedRow(len(row.prompt.ids) + len(row.answer) - 1, adapter=row.prompt.adapter) for row in rows),
        outputs=torch.tensor(outputs),
        labels=torch.tensor(labels),
        media_index=torch.tensor(index["image"] + index["audio"], dtype=torch.int64),
        pictures=join_pictures(tiles, [row.shown for row in rows if row.shown]) if tiles else None,
        clips=pad_clips(frames, [row.spoken for row in rows if row.spoken]) if frames else None,
        projections=projections,
    )


def pad_clips(features: Sequence[F32], spoken: Sequence[tuple[int, ...]]) -> Clips:
    """Log-mel features (F, M) of several recordings, zero past each one's end."""
    frames = torch.tensor([len(clip) for clip in features])
    padded = torch.zeros(len(features), int(frames.max()), features[0].shape[1])
    for target, clip in zip(padded, features, strict=True):
        target[: len(clip)] = torch.from_numpy(clip)
    return Clips(padded, frames, tuple(spoken))


def join_pictures(tiles: Sequence[ImageTiles], shown: Sequence[tuple[int, ...]]) -> Pictures:
    """Crops of several pictures, with the word ids of each."""
    pixels = torch.from_numpy(np.concatenate([picture.pixels for picture in tiles]))
    mask = torch.from_numpy(np.concatenate([picture.mask for picture in tiles]))
    return Pictures(pixels, mask, [picture.grid for picture in tiles], tuple(shown))
