"""What the published code does with images and sound, beside what is done here: the sizes in docs/numerics.md.

The published code opens an image with Pillow, calls `convert("RGB")` and knows no more of the file.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import PIL.Image
import pytest

from phi4mm.processing.image import ImageProcessor, crop_limit, open_image
from phi4mm.processing.resampling import resample
from phi4mm.protocol.messages import Image

CROPS = ImageProcessor().max_crops


def both(image: PIL.Image.Image, format: str = "PNG", **options: Any) -> tuple[Any, Any]:
    """The pixels by the published code and by ours."""
    file = io.BytesIO()
    image.save(file, format, **options)
    with PIL.Image.open(io.BytesIO(file.getvalue())) as opened:
        theirs = np.asarray(opened.convert("RGB")).astype(int)
    return theirs, np.asarray(open_image(Image(file.getvalue()))).astype(int)


def tokens(width: int, height: int, images: int = 1) -> int:
    return ImageProcessor().plan(width, height, crop_limit(images, CROPS)).tokens


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "CMYK"])
def test_plain_images_are_equal(mode: str) -> None:
    """Where a file says no more than its pixels, there is no difference."""
    image = PIL.Image.effect_noise((40, 30), 90).convert("RGB").convert(mode)
    theirs, ours = both(image, "TIFF" if mode == "CMYK" else "PNG")
    np.testing.assert_array_equal(ours, theirs)


def test_transparency_shows_white_and_not_the_hidden_colour() -> None:
    """Black letters on a transparent ground are black on black there: 255 levels."""
    clear = PIL.Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    theirs, ours = both(clear)
    assert (theirs.max(), ours.min()) == (0, 255)
    clear.putalpha(128)
    theirs, ours = both(clear)
    assert (theirs.max(), ours.min()) == (0, 127)


def test_grey_of_16_bits_is_scaled_and_not_cut_off() -> None:
    """Every level from 256 on is white there: up to 254 levels."""
    levels = np.array([[0, 1, 255, 256, 32_896, 65_535]], np.uint16)
    theirs, ours = both(PIL.Image.fromarray(levels))
    assert theirs[0, :, 0].tolist() == [0, 1, 255, 255, 255, 255]
    assert ours[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]
    every = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    theirs, ours = both(PIL.Image.fromarray(every))
    assert np.abs(ours - theirs).max() == 254


def test_orientation_stands_images_upright() -> None:
    """A photo of a phone lies on its side there; another shape takes other tokens."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    theirs, ours = both(PIL.Image.effect_noise((64, 48), 90).convert("RGB"), exif=exif)
    assert (theirs.shape, ours.shape) == ((48, 64, 3), (64, 48, 3))
    np.testing.assert_array_equal(ours, np.rot90(theirs, -1))
    assert (tokens(1920, 1080), tokens(1080, 1920)) == (3918, 3953)


def test_the_budget_of_crops_binds_from_five_images_on() -> None:
    """144 crops for all: up to four images get what the published code gives each."""
    assert [crop_limit(count, CROPS) for count in (1, 4, 5, 6, 9, 16, 64)] == [36, 36, 28, 24, 16, 9, 2]
    assert [tokens(2688, 2688, count) for count in (4, 5, 9, 16, 64)] == [9585, 6753, 4433, 2625, 545]
    # An image that needs no more crops than its share is not changed.
    assert [tokens(1920, 1080, count) for count in (4, 9, 16)] == [3918, 3918, 2129]


def test_other_rates_than_multiples_of_16_khz_are_not_read_at_a_wrong_rate() -> None:
    """The published code takes every second sample of 44.1 kHz and calls that 16 kHz: 38 % longer, and lower."""
    second = np.zeros(44_100, np.float32)
    assert len(resample(second, 44_100)[0]) == 16_000
    assert len(resample(second, 48_000)[0]) == 14_700
    assert pytest.approx(1.378, abs=1e-3) == -(-44_100 // 2) / 16_000
