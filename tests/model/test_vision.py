"""The image tower and the assembly of its features."""

from __future__ import annotations

import pytest
import torch

from phi4mm.engine.encoders import encode_image
from phi4mm.model import vision as module
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.processing.pixels import to_tiles
from tests.prompts import make_image

CPU = torch.device("cpu")
TOLERANCE = 2e-5  # float32 sums in another order


def test_crops_that_run_at_once_do_not_change_the_result(tiny: Phi4MM, monkeypatch: pytest.MonkeyPatch) -> None:
    """What bounds memory must not change the numbers; some crops here are padded and some are not."""
    tiles = make_image(1000, 500)
    whole = encode_image(tiny, tiles, CPU)
    monkeypatch.setattr(module, "CROPS_AT_ONCE", 1)
    assert (encode_image(tiny, tiles, CPU) - whole).abs().max() < TOLERANCE


def test_padding_does_not_change_the_features_of_an_image(tiny: Phi4MM) -> None:
    """448x200 has an odd number of valid rows, so padded queries that are not zero would change the 2x2 averages."""
    tiles = to_tiles(make_image(448, 200))
    assert int(tiles.mask[1, :, 0].sum()) % 2 == 1
    assert tiny.image is not None
    pixels, mask = torch.from_numpy(tiles.pixels), torch.from_numpy(tiles.mask)
    changed = pixels.clone()
    changed[1, :, 448 * 15 // 32 + 28 :] += 3  # only patches that are entirely padding
    with torch.inference_mode():
        before = tiny.image.tower(pixels, mask)[1].view(32, 32, -1)
        after = tiny.image.tower(changed, mask)[1].view(32, 32, -1)
    valid = mask[1]
    assert (before[valid] - after[valid]).abs().max() < TOLERANCE


def test_positions_of_a_padded_crop_are_stretched_over_the_grid(tiny: Phi4MM) -> None:
    """20 valid columns get the positions floor(32 i / 20), as in the published code."""
    assert tiny.image is not None
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[0, :8, :20] = True
    ids = tiny.image.tower._position_ids(mask)[0].view(32, 32)
    assert ids[0, :5].tolist() == [0, 1, 3, 4, 6]
    assert ids[3, 19].item() == 12 * 32 + 30
    assert ids[8:].sum() == 0


def test_images_encoded_in_one_batch_equal_each_image_alone(tiny: Phi4MM) -> None:
    """Training encodes a batch of images in one call."""
    tiles = [to_tiles(make_image(width, height)) for width, height in ((448, 448), (300, 200), (500, 900))]
    assert tiny.image is not None
    with torch.inference_mode():
        together = tiny.image(
            torch.cat([torch.from_numpy(t.pixels) for t in tiles]),
            torch.cat([torch.from_numpy(t.mask) for t in tiles]),
            [t.grid for t in tiles],
        )
    for embeddings, image in zip(together, tiles, strict=True):
        assert (embeddings - encode_image(tiny, image, CPU)).abs().max() < TOLERANCE


def test_equal_crops_are_encoded_once(tiny: Phi4MM, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small square image equals its global view: otherwise half of the time to its first token is lost."""
    square, landscape = make_image(448, 448), make_image(448, 300)
    assert tiny.image is not None
    crop_counts: list[int] = []
    tower = tiny.image.tower.forward

    def counted(pixels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        crop_counts.append(len(pixels))
        features: torch.Tensor = tower(pixels, mask)
        return features

    monkeypatch.setattr(tiny.image.tower, "forward", counted)
    once = encode_image(tiny, square, CPU)
    encode_image(tiny, landscape, CPU)
    assert crop_counts == [1, 2], "a padded crop differs from its global view in its mask alone"
    monkeypatch.setattr(module, "distinct_crops", lambda pixels, mask: (list(range(len(pixels))),) * 2)
    assert (encode_image(tiny, square, CPU) - once).abs().max() < TOLERANCE
    assert crop_counts == [1, 2, 2]


def test_equal_crops_are_found_anywhere_in_a_batch() -> None:
    """A crop must not get the features of another one."""
    pixels = torch.randn(3, 3, 8, 8)[[0, 1, 0, 2, 1]]
    mask = torch.ones(5, 2, 2, dtype=torch.bool)
    assert module.distinct_crops(pixels, mask) == ([0, 1, 3], [0, 1, 0, 2, 1])
    mask[2, 1] = False
    assert module.distinct_crops(pixels, mask) == ([0, 1, 2, 3], [0, 1, 2, 3, 1])
