"""Crops of 8 bits to what the image tower reads: normalised tiles, a global view of the whole canvas, and masks.

Shape legend: N crops of one image, C those and its global view, P patches along a crop's side, S pixels along it,
H and W pixels along the canvas.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from phi4mm.protocol.inputs import F32, ImageCrops, ImageTiles

_BYTE_TO_UNIT: F32 = (np.arange(256, dtype=np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
_CUBIC_HALFWAY = (-3 / 32, 19 / 32, 19 / 32, -3 / 32)  # cubic convolution, a = -0.75, between two samples


def to_tiles(image: ImageCrops | ImageTiles) -> ImageTiles:
    """Float tiles of an image's crops, the global view first; tiles that are ready are returned as they are.

    The global view is computed in floats from the whole canvas and not clamped, as published.
    """
    if isinstance(image, ImageTiles):
        return image
    view = _global_view(_canvas(image), image.size)  # first: what it holds meanwhile may be as large as the tiles
    pixels = np.empty((1 + len(image.crops), 3, image.size, image.size), np.float32)
    pixels[0] = view
    # One crop at a time: `take` makes int64 indices, for a whole image twice as large as its floats.
    for crop, tile in zip(image.crops, pixels[1:], strict=True):
        np.take(_BYTE_TO_UNIT, crop.transpose(2, 0, 1), out=tile, mode="clip")
    return ImageTiles(pixels, _masks(image), image.grid)


def _canvas(image: ImageCrops) -> npt.NDArray[np.uint8]:
    """(H, W, 3): the crops put together again."""
    (rows, columns), size = image.grid, image.size
    return image.crops.reshape(rows, columns, size, size, 3).swapaxes(1, 2).reshape(rows * size, columns * size, 3)


def _masks(image: ImageCrops) -> npt.NDArray[np.bool_]:
    """(C, P, P): all of the global view is valid, and of the canvas what `valid` says."""
    (rows, columns), side = image.grid, image.side
    canvas = np.zeros((rows * side, columns * side), np.bool_)
    canvas[: image.valid[1], : image.valid[0]] = True
    mask = np.ones((1 + rows * columns, side, side), np.bool_)
    mask[1:] = canvas.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)
    return mask


def _global_view(canvas: npt.NDArray[np.uint8], size: int) -> F32:
    """(H, W, 3) to (3, S, S): bicubic without antialiasing and unclamped, as published.

    The canvas is a whole number of crops along each side, so every output lies on a pixel or halfway between two.
    """
    rows = _every(canvas, canvas.shape[0] // size)  # (S, W, 3)
    view = _every(rows.swapaxes(0, 1), canvas.shape[1] // size)  # (S columns, S rows, 3)
    return view.transpose(2, 1, 0)


def _every(lines: npt.NDArray[Any], factor: int) -> F32:
    """One bicubic sample, in [-1, 1], at the middle of each `factor` lines of axis 0; lines are bytes or float32."""
    if factor % 2:
        return _unit(lines[factor // 2 :: factor])
    first = np.arange(len(lines) // factor) * factor + factor // 2 - 2
    out: F32 = np.zeros((len(first), *lines.shape[1:]), np.float32)
    for tap, weight in enumerate(_CUBIC_HALFWAY):
        out += _weighted(lines[np.clip(first + tap, 0, len(lines) - 1)], weight)
    return out


def _weighted(lines: npt.NDArray[Any], weight: float) -> F32:
    """`weight` times lines that are the caller's own: they may be changed."""
    part = _unit(lines)
    part *= np.float32(weight)
    return part


def _unit(lines: npt.NDArray[Any]) -> F32:
    return _BYTE_TO_UNIT[lines] if lines.dtype == np.uint8 else lines
