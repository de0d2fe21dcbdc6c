"""Crops of 8 bits to the input of the image tower: normalised tiles, a global view of the whole canvas, and masks.

Shape legend: C crops of one image with its global view, P patches along a crop's side, X pixels along it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from phi4mm.protocol.inputs import F32, ImageCrops, ImageTiles

_BYTE_TO_UNIT: F32 = (np.arange(256, dtype=np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
_CUBIC_HALFWAY = (-3 / 32, 19 / 32, 19 / 32, -3 / 32)  # cubic convolution, a = -0.75, halfway between two samples


def to_tiles(image: ImageCrops | ImageTiles) -> ImageTiles:
    """Convert the crops of an image to float tiles, the global view first; ImageTiles are returned unchanged.

    The global view is computed in floats from the whole canvas and not clamped, as published.
    """
    if isinstance(image, ImageTiles):
        return image
    view = _global_view(_canvas(image), image.size)  # before `pixels` is allocated: its temporaries may be as large
    pixels = np.empty((1 + len(image.crops), 3, image.size, image.size), np.float32)
    pixels[0] = view
    # One crop at a time: `take` makes int64 indices, which are twice as large as the floats.
    for crop, tile in zip(image.crops, pixels[1:], strict=True):
        np.take(_BYTE_TO_UNIT, crop.transpose(2, 0, 1), out=tile, mode="clip")
    return ImageTiles(pixels, _masks(image), image.grid)


def _canvas(image: ImageCrops) -> npt.NDArray[np.uint8]:
    """(height, width, 3): the crops joined to one image."""
    (rows, columns), size = image.grid, image.size
    return image.crops.reshape(rows, columns, size, size, 3).swapaxes(1, 2).reshape(rows * size, columns * size, 3)


def _masks(image: ImageCrops) -> npt.NDArray[np.bool_]:
    """(C, P, P): True in all of the global view, and in the `valid` part of the canvas."""
    (rows, columns), side = image.grid, image.side
    canvas = np.zeros((rows * side, columns * side), np.bool_)
    canvas[: image.valid[1], : image.valid[0]] = True
    mask = np.ones((1 + rows * columns, side, side), np.bool_)
    mask[1:] = canvas.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)
    return mask


def _global_view(canvas: npt.NDArray[np.uint8], size: int) -> F32:
    """(height, width, 3) to (3, X, X): bicubic without antialiasing or clamping, as published.

    Each side of the canvas is a whole number of crops, so every output is at a pixel or halfway between two.
    """
    rows = _reduced(canvas, canvas.shape[0] // size)  # (X, width, 3)
    view = _reduced(rows.swapaxes(0, 1), canvas.shape[1] // size)  # (X columns, X rows, 3)
    return view.transpose(2, 1, 0)


def _reduced(lines: npt.NDArray[Any], factor: int) -> F32:
    """Reduce axis 0 by `factor`: a bicubic sample at the middle of each group; bytes or float32 to float32."""
    if factor % 2:
        return _unit(lines[factor // 2 :: factor])
    first = np.arange(len(lines) // factor) * factor + factor // 2 - 2
    out: F32 = np.zeros((len(first), *lines.shape[1:]), np.float32)
    for tap, weight in enumerate(_CUBIC_HALFWAY):
        out += _weighted(lines[np.clip(first + tap, 0, len(lines) - 1)], weight)
    return out


def _weighted(lines: npt.NDArray[Any], weight: float) -> F32:
    """`weight` times lines, computed in place: the caller must not need the lines afterwards."""
    part = _unit(lines)
    part *= np.float32(weight)
    return part


def _unit(lines: npt.NDArray[Any]) -> F32:
    """Bytes to float32 in [-1, 1]; float32 is returned unchanged."""
    return _BYTE_TO_UNIT[lines] if lines.dtype == np.uint8 else lines
