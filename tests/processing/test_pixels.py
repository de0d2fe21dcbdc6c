"""Crops are sent to the engine in 8 bits; the floats made from them equal those made from the image itself."""

from __future__ import annotations

import pickle
import tracemalloc
from dataclasses import fields, replace

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest

from phi4mm.processing.image import ImagePlan, ImageProcessor
from phi4mm.processing.pixels import to_tiles
from phi4mm.processing.processor import Processor, media_digest
from phi4mm.protocol.inputs import F32, ImageCrops, ImageTiles, MediaSpan, Prompt
from phi4mm.protocol.messages import Image


def noise(width: int, height: int, seed: int = 0) -> PIL.Image.Image:
    return PIL.Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def tiles_of_the_image(processor: ImageProcessor, image: PIL.Image.Image) -> ImageTiles:
    """The reference: tiles computed in floats from the resized image, without 8-bit crops."""
    plan, size = processor.plan(*image.size), processor.crop_size
    (rows, columns), side = plan.grid, plan.side
    canvas = np.full((rows * size, columns * size, 3), 255, np.uint8)
    canvas[: plan.resized[1], : plan.resized[0]] = np.asarray(image.resize(plan.resized, PIL.Image.Resampling.BILINEAR))
    unit = (canvas.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    view = sampled(sampled(unit, rows).swapaxes(0, 1), columns).transpose(2, 1, 0)
    crops = unit.reshape(rows, size, columns, size, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, size, size)
    valid = np.zeros((rows * side, columns * side), np.bool_)
    valid[: plan.valid[1], : plan.valid[0]] = True
    masks = valid.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)
    whole = np.ones((1, side, side), np.bool_)
    return ImageTiles(np.concatenate([view[None], crops]), np.concatenate([whole, masks]), plan.grid)


def sampled(lines: F32, factor: int) -> F32:
    """The middle of each group of `factor` lines: the line itself, or four taps around it."""
    if factor % 2:
        return lines[factor // 2 :: factor]
    first = np.arange(len(lines) // factor) * factor + factor // 2 - 2
    out: F32 = np.zeros((len(first), *lines.shape[1:]), np.float32)
    for tap, weight in enumerate((-3 / 32, 19 / 32, 19 / 32, -3 / 32)):
        out += np.float32(weight) * lines[np.clip(first + tap, 0, len(lines) - 1)]
    return out


@pytest.mark.parametrize("seed", range(24))
def test_tiles_of_crops_equal_tiles_of_the_image_bit_for_bit(seed: int) -> None:
    """The way through 8-bit crops must not change rounding, order or borders."""
    chooser = np.random.default_rng(seed)
    crop, patch = ((56, 14), (28, 14), (84, 14), (112, 28))[seed % 4]
    processor = ImageProcessor(crop, patch, int(chooser.integers(1, 37)))
    width, height = (int(n) for n in chooser.integers(crop // 2, 6 * crop, 2))
    image = noise(width, height, seed)
    tiles, expected = to_tiles(processor(image)), tiles_of_the_image(processor, image)
    np.testing.assert_array_equal(tiles.pixels, expected.pixels)
    np.testing.assert_array_equal(tiles.mask, expected.mask)
    assert tiles.grid == expected.grid
    assert (str(tiles.pixels.dtype), str(tiles.mask.dtype)) == ("float32", "bool")


def test_the_global_view_equals_torch_bicubic() -> None:
    """Taps and borders must be right for even and odd numbers of crops; the golden files have only some pixels."""
    torch = pytest.importorskip("torch")
    processor = ImageProcessor(crop_size=56, patch_size=14, max_crops=64)
    for rows, columns in ((1, 2), (2, 1), (3, 2), (4, 3), (5, 6), (8, 8)):
        canvas = np.random.default_rng(rows).integers(0, 256, (56 * rows, 56 * columns, 3), np.uint8)
        unit = torch.from_numpy((canvas.astype(np.float32) / 255 - 0.5) / 0.5).permute(2, 0, 1)[None]
        expected = torch.nn.functional.interpolate(unit, size=(56, 56), mode="bicubic", align_corners=False)[0]
        view = to_tiles(processor(PIL.Image.fromarray(canvas))).pixels[0]
        np.testing.assert_allclose(view, expected.numpy(), atol=1e-5)


def test_crops_follow_the_global_view_row_by_row() -> None:
    """Crops in column order would have the same shapes."""
    canvas = np.zeros((112, 168, 3), np.uint8)
    for row in range(2):
        for column in range(3):
            canvas[row * 56 : row * 56 + 56, column * 56 : column * 56 + 56] = 40 * (3 * row + column)
    crops = ImageProcessor(crop_size=56, patch_size=14)(PIL.Image.fromarray(canvas))
    assert crops.crops[:, 0, 0, 0].tolist() == [0, 40, 80, 120, 160, 200]
    np.testing.assert_allclose(to_tiles(crops).pixels[1:, 0, 0, 0], np.arange(6) * 40 / 255 * 2 - 1, atol=1e-6)


def test_image_tiles_are_returned_unchanged() -> None:
    """Scripts of the model card pass floats, which may have any values and must not be converted to bytes."""
    tiles = to_tiles(ImageProcessor(56, 14)(noise(80, 60)))
    assert to_tiles(tiles) is tiles


@pytest.mark.parametrize("size", [(2688, 2688), (448 * 36, 448), (448, 448 * 36)])
def test_an_image_of_36_crops_is_sent_to_the_engine_in_22_megabytes(size: tuple[int, int]) -> None:
    """As floats it would take 89 MB."""
    crops = ImageProcessor()(noise(*size))
    assert len(crops.crops) == 36
    prompt = Prompt((1,) * 9, (MediaSpan("image", 0, 9, media_digest(crops), crops),))
    sent = pickle.dumps(prompt)
    assert len(sent) <= 22_000_000 + 64 * 1024
    data = pickle.loads(sent).spans[0].data
    assert isinstance(data, ImageCrops)
    assert media_digest(data) == prompt.spans[0].digest


@pytest.mark.parametrize("shape", [(1, 36), (36, 1), (2, 18), (18, 2), (6, 6)])
def test_the_floats_of_an_image_are_held_only_once(shape: tuple[int, int]) -> None:
    """Each further copy of 36 crops of the published size would take 89 MB."""
    (rows, columns), size = shape, 112
    pixels: npt.NDArray[np.uint8] = np.zeros((rows * columns, size, size, 3), np.uint8)
    image = ImageCrops(pixels, (rows, columns), (4 * columns, 4 * rows), 4)
    tracemalloc.start()
    try:
        tiles = to_tiles(image)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < tiles.pixels.nbytes * 1.5


def test_digests_depend_on_every_field_and_on_the_class() -> None:
    """Otherwise an image could get the cached encoder output of another one with the same bytes."""
    crops = ImageProcessor(56, 14)(noise(110, 55))
    assert crops.grid == (1, 2)
    others: list[ImageCrops | ImageTiles] = [
        replace(crops, crops=255 - crops.crops),
        replace(crops, grid=(2, 1)),
        replace(crops, valid=(7, 4)),
        replace(crops, side=2),
        to_tiles(crops),
    ]
    assert {field.name for field in fields(crops)} == {"crops", "grid", "valid", "side"}
    assert len({media_digest(data) for data in (crops, *others)}) == 6
    assert media_digest(replace(crops, crops=crops.crops.copy())) == media_digest(crops)


def test_the_plan_of_an_image_is_made_once(processor: Processor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels and placeholders must come from the same plan, and the grid is searched only once."""
    sizes: list[tuple[int, int]] = []
    plan = ImageProcessor.plan

    def counted(self: ImageProcessor, width: int, height: int, max_crops: int | None = None) -> ImagePlan:
        sizes.append((width, height))
        return plan(self, width, height, max_crops)

    monkeypatch.setattr(ImageProcessor, "plan", counted)
    spans = processor.prompt("<|image_1|><|image_2|>", [Image(noise(500, 300)), Image(noise(90, 80))]).spans
    assert sizes == [(500, 300), (90, 80)]
    assert [span.length for span in spans] == [plan(processor.images, *size).tokens for size in sizes]
