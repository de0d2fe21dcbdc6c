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


def test_how_many_crops_run_at_once_does_not_matter(tiny: Phi4MM, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound on memory must be invisible in the numbers; some crops are padded and some are not."""
    tiles = make_image(1000, 500)
    whole = encode_image(tiny, tiles, CPU)
    monkeypatch.setattr(module, "CROPS_AT_ONCE", 1)
    assert (encode_image(tiny, tiles, CPU) - whole).abs().max() < TOLERANCE


def test_padding_never_reaches_the_picture(tiny: Phi4MM) -> None:
    """448x200 leaves an odd number of valid rows: a padded query that attended would leak through the 2x2 average."""
    tiles = to_tiles(make_image(448, 200))
    assert int(tiles.mask[1, :, 0].sum()) % 2 == 1
    assert tiny.image is not None
    pixels, mask = torch.from_numpy(tiles.pixels), torch.from_numpy(tiles.mask)
    louder = pixels.clone()
    louder[1, :, 448 * 15 // 32 + 28 :] += 3  # rows of wholly padded patches, past those that are partly padded
    with torch.inference_mode():
        quiet = tiny.image.tower(pixels, mask)[1].view(32, 32, -1)
        loud = tiny.image.tower(louder, mask)[1].view(32, 32, -1)
    valid = mask[1]
    assert (quiet[valid] - loud[valid]).abs().max() < TOLERANCE


def test_positions_of_a_padded_crop_are_stretched_over_the_grid(tiny: Phi4MM) -> None:
    """20 valid columns take the positions floor(32 i / 20), as the published code buckets them."""
    assert tiny.image is not None
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[0, :8, :20] = True
    ids = tiny.image.tower._position_ids(mask)[0].view(32, 32)
    assert ids[0, :5].tolist() == [0, 1, 3, 4, 6]
    assert ids[3, 19].item() == 12 * 32 + 30
    assert ids[8:].sum() == 0


def test_pictures_encoded_together_equal_each_alone(tiny: Phi4MM) -> None:
    """Training encodes a batch of images in one call."""
    tiles = [to_tiles(make_image(width, height)) for width, height in ((448, 448), (300, 200), (500, 900))]
    assert tiny.image is not None
    with torch.inference_mode():
        together = tiny.image(
            torch.cat([torch.from_numpy(t.pixels) for t in tiles]),
            torch.cat([torch.from_numpy(t.mask) for t in tiles]),
            [t.grid for t in tiles],
        )
    for rows, each in zip(together, tiles, strict=True):
        assert (rows - encode_image(tiny, each, CPU)).abs().max() < TOLERANCE


def test_equal_crops_run_once(tiny: Phi4MM, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small square image is its own global view: half of its first token's wait is spent on a copy otherwise."""
    square, wide = make_image(448, 448), make_image(448, 300)
    assert tiny.image is not None
    seen: list[int] = []
    tower = tiny.image.tower.forward

    def counted(pixels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        seen.append(len(pixels))
        rows: torch.Tensor = tower(pixels, mask)
        return rows

    monkeypatch.setattr(tiny.image.tower, "forward", counted)
    once = encode_image(tiny, square, CPU)
    encode_image(tiny, wide, CPU)
    assert seen == [1, 2], "a padded crop differs from its global view in its mask alone"
    monkeypatch.setattr(module, "distinct_crops", lambda pixels, mask: (list(range(len(pixels))),) * 2)
    assert (encode_image(tiny, square, CPU) - once).abs().max() < TOLERANCE
    assert seen == [1, 2, 2]


def test_equal_crops_are_found_wherever_they_are() -> None:
    """Prevents: features of one crop in the place of another."""
    pixels = torch.randn(3, 3, 8, 8)[[0, 1, 0, 2, 1]]
    mask = torch.ones(5, 2, 2, dtype=torch.bool)
    assert module.distinct_crops(pixels, mask) == ([0, 1, 3], [0, 1, 0, 2, 1])
    mask[2, 1] = False
    assert module.distinct_crops(pixels, mask) == ([0, 1, 2, 3], [0, 1, 2, 3, 1])
