"""Images: grid and pixels equal to the published code; damaged or hostile files are refused."""

from __future__ import annotations

import io
import random
import re
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest

from phi4mm.errors import ConfigError, InputError
from phi4mm.processing.image import (
    FULL_PIXELS,
    MAX_PIXELS,
    ImageProcessor,
    _holds_coefficients,
    crop_limit,
    image_size,
    open_image,
)
from phi4mm.processing.pixels import to_tiles
from phi4mm.protocol.messages import Image

GOLDEN = Path(__file__).parents[1] / "golden" / "golden_tiny.npz"
with np.load(GOLDEN) as _file:
    GOLDEN_IMAGES = {key: _file[key] for key in _file.files if key.startswith("image.")}
GOLDEN_SIZES = sorted({key.split(".")[1] for key in GOLDEN_IMAGES})
Bytes = npt.NDArray[np.uint8]


def ramp(width: int, height: int) -> Bytes:
    """The image of the golden file: a ramp, a ripple and a checkerboard."""
    x, y = np.arange(width), np.arange(height)[:, None]
    red = np.broadcast_to(x * 255 // max(width - 1, 1), (height, width)).astype(np.uint8)
    green = (3 * y).astype(np.uint8) + (x * x // 64).astype(np.uint8)  # bytes wrap at 256 on purpose
    tiles = (x // 24 % 2).astype(np.uint8) ^ (y // 40 % 2).astype(np.uint8)
    blue = tiles * np.uint8(180) + ((7 * x % 61).astype(np.uint8) + (13 * y % 61).astype(np.uint8)) % np.uint8(61)
    return np.stack([red, green, blue], -1)


def encoded(image: PIL.Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def rgb(source: object) -> Bytes:
    """The decoded pixels of a source."""
    image = open_image(Image(source))
    assert image.mode == "RGB"
    return np.asarray(image)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, extra: bytes = b"", rows: bytes = b"") -> bytes:
    """A grey PNG with any size in its header and any chunks."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


SMALL = PIL.Image.fromarray(ramp(40, 30))


@pytest.mark.parametrize("size", GOLDEN_SIZES)
def test_pixels_masks_and_tokens_equal_the_published_code(size: str) -> None:
    """Resize, padding, normalisation, bicubic global view, crop order and token count must agree."""
    width, height = map(int, size.split("x"))
    processor = ImageProcessor()
    tiles = to_tiles(processor(open_image(Image(ramp(width, height)))))
    key = f"image.{size}."
    step = int(GOLDEN_IMAGES[key + "pixels_step"])
    assert tiles.pixels.shape == tuple(GOLDEN_IMAGES[key + "shape"])
    np.testing.assert_allclose(tiles.pixels.reshape(-1)[::step], GOLDEN_IMAGES[key + "pixels_sample"], atol=1e-5)
    assert processor.plan(width, height).tokens == GOLDEN_IMAGES[key + "tokens"][0]
    np.testing.assert_array_equal(tiles.mask.sum((1, 2)), GOLDEN_IMAGES[key + "mask_valid_per_crop"])
    assert [tiles.grid[0] * 448, tiles.grid[1] * 448] == GOLDEN_IMAGES[key + "canvas_hw"][0].tolist()


@pytest.mark.parametrize(
    ("size", "grid", "resized", "padding", "valid", "tokens"),
    [
        ((800, 600), (2, 2), (896, 672), (0, 224), (64, 48), 1065),
        ((1024, 768), (2, 3), (1194, 896), (150, 0), (86, 64), 1681),
        ((5000, 300), (1, 12), (5376, 322), (0, 126), (384, 23), 2589),
        ((4032, 3024), (3, 4), (1792, 1344), (0, 0), (128, 96), 3393),
        ((448, 10), (1, 1), (448, 10), (0, 438), (32, 1), 290),
        ((448, 448 * 36), (36, 1), (448, 16128), (0, 0), (32, 1152), 10065),
        ((448 * 36, 448), (1, 36), (16128, 448), (0, 0), (1152, 32), 9505),
    ],
)
def test_a_plan_has_the_published_grid_padding_and_tokens(
    size: tuple[int, int],
    grid: tuple[int, int],
    resized: tuple[int, int],
    padding: tuple[int, int],
    valid: tuple[int, int],
    tokens: int,
) -> None:
    """Sizes are truncated and not rounded; the extreme shapes show swapped axes and wrong token counts."""
    plan = ImageProcessor().plan(*size)
    assert (plan.grid, plan.resized, plan.padding, plan.valid, plan.tokens) == (grid, resized, padding, valid, tokens)


def test_tokens_follow_from_the_patches_of_other_crop_sizes() -> None:
    """The published 256 tokens per crop are not a constant."""
    assert ImageProcessor(crop_size=224, patch_size=28).plan(224, 224).tokens == 4 * 5 + 1 + 4 * 5
    assert ImageProcessor(crop_size=224, patch_size=28).plan(448, 100).tokens == 4 * 5 + 1 + 2 * (8 + 1)


def test_impossible_processors_are_refused() -> None:
    """2x2 pooling needs an even number of patches, and the model was not trained with more crops."""
    with pytest.raises(ConfigError, match="448 is not an even number of patches of patch_size 15"):
        ImageProcessor(patch_size=15)
    with pytest.raises(ConfigError, match="max_crops is 65; expected a whole number from 1 to 64"):
        ImageProcessor(max_crops=65)


def test_many_images_share_a_budget_of_crops() -> None:
    """64 images with 36 crops each would take about 600,000 tokens."""
    assert [crop_limit(n, 36) for n in (1, 4, 5, 9, 64)] == [36, 36, 28, 16, 2]
    assert crop_limit(64, 1) == 1
    assert ImageProcessor().plan(2688, 2688, 16).grid == (4, 4)


@pytest.mark.parametrize(("width", "height"), [(1, 10_000), (10_000, 1), (100, 1)])
def test_extreme_shapes_are_refused_with_both_sizes(width: int, height: int) -> None:
    """Such an image would be resized to a few pixels; the published code refuses it too."""
    with pytest.raises(InputError, match=rf"the image of {width} x {height} pixels would be resized to .* 10 pixels"):
        ImageProcessor().plan(width, height)


@pytest.mark.parametrize(
    ("format", "exact"),
    [("PNG", True), ("BMP", True), ("PPM", True), ("TIFF", True), ("WEBP", False), ("JPEG", False)],
)
def test_every_format_gives_the_same_image_from_a_path_and_from_bytes(format: str, exact: bool, tmp_path: Path) -> None:
    """Every listed decoder must work, and the format is recognised by content and not by extension."""
    data = encoded(SMALL, format)
    path = tmp_path / "wrong_extension.gif"
    path.write_bytes(data)
    np.testing.assert_array_equal(rgb(path), rgb(data))
    np.testing.assert_array_equal(rgb(str(path)), rgb(data))
    difference = np.abs(rgb(data).astype(int) - np.asarray(SMALL))
    assert difference.max() == 0 if exact else difference.mean() < 12


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_is_applied(turn: int) -> None:
    """Phones store photos rotated, with the orientation in EXIF."""
    undo: dict[int, PIL.Image.Transpose | None] = {
        1: None,
        2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
        3: PIL.Image.Transpose.ROTATE_180,
        4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
        5: PIL.Image.Transpose.TRANSPOSE,
        6: PIL.Image.Transpose.ROTATE_90,
        7: PIL.Image.Transpose.TRANSVERSE,
        8: PIL.Image.Transpose.ROTATE_270,
    }
    step = undo[turn]
    stored = SMALL if step is None else SMALL.transpose(step)
    exif = PIL.Image.Exif()
    exif[0x0112] = turn
    np.testing.assert_array_equal(rgb(encoded(stored, "PNG", exif=exif)), np.asarray(SMALL))


def test_transparent_pixels_become_white() -> None:
    """Transparent pixels are often stored as black; PNG has five ways to mark them."""
    black = PIL.Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    palette = PIL.Image.new("P", (4, 4), 1)
    palette.putpalette([255, 0, 0, 0, 0, 0])
    sources = {
        "RGBA": encoded(black, "PNG"),
        "LA": encoded(PIL.Image.new("LA", (4, 4), (0, 0)), "PNG"),
        "palette": encoded(palette, "PNG", transparency=1),
        "grey tRNS": encoded(PIL.Image.new("L", (4, 4), 7), "PNG", transparency=7),
        "colour tRNS": encoded(PIL.Image.new("RGB", (4, 4), (1, 2, 3)), "PNG", transparency=(1, 2, 3)),
        "16-bit tRNS": encoded(PIL.Image.new("I;16", (4, 4), 300), "PNG", transparency=300),
        "WEBP": encoded(black, "WEBP", lossless=True),
        "PIL": black,
        "array": np.zeros((4, 4, 4), np.uint8),
    }
    for name, source in sources.items():
        assert (rgb(source) == 255).all(), name
    half = PIL.Image.new("RGBA", (2, 2), (0, 0, 255, 128))
    assert rgb(half)[0, 0].tolist() == [127, 127, 255]


def test_deep_grey_is_scaled_and_other_modes_are_converted() -> None:
    """16-bit scans must not be clipped to white, CMYK not be inverted, and 1-bit images not be black."""
    deep = np.array([[0, 257, 32896, 65535]], np.uint16)
    for format in ("PNG", "TIFF"):
        assert rgb(encoded(PIL.Image.fromarray(deep), format))[0, :, 1].tolist() == [0, 1, 128, 255]
    assert rgb(b"P5 4 1 65535\n" + deep.astype(">u2").tobytes())[0, :, 1].tolist() == [0, 1, 128, 255]
    assert rgb(encoded(PIL.Image.new("1", (9, 2), 1), "TIFF"))[0, 0].tolist() == [255] * 3
    for format in ("TIFF", "JPEG"):
        red = rgb(encoded(PIL.Image.new("CMYK", (8, 8), (0, 255, 255, 0)), format))[4, 4]
        assert red[0] > 250
        assert max(red[1:]) < 6
    with pytest.raises(InputError, match="grey levels run from 0 to 70000; expected 0 to 65535"):
        rgb(PIL.Image.fromarray(np.array([[0, 70000]], np.int32)))


def test_arrays_of_documented_shapes_are_accepted_and_others_refused() -> None:
    """A float image must not be truncated to zeros."""
    colour = ramp(6, 5)
    np.testing.assert_array_equal(rgb(colour), colour)
    np.testing.assert_array_equal(rgb(colour.astype(np.float32) / 255), colour)
    np.testing.assert_array_equal(rgb(colour[:, :, 0]), np.stack([colour[:, :, 0]] * 3, -1))
    np.testing.assert_array_equal(rgb(colour[:, :, :1]), rgb(colour[:, :, 0]))
    np.testing.assert_array_equal(rgb(colour[::-1, ::2]), colour[::-1, ::2])
    for array, message in (
        (np.zeros((2, 8, 8), np.uint8), r"has shape \(2, 8, 8\); expected \(height, width\)"),
        (np.zeros((1, 3, 8, 8), np.uint8), r"has shape \(1, 3, 8, 8\)"),
        (np.zeros((0, 8), np.uint8), r"has shape \(0, 8\)"),
        (np.zeros((8, 8), np.uint16), "is uint16; expected uint8, or floats"),
        (np.full((8, 8), 200.0), "runs from 200 to 200; expected 0 to 1"),
        (np.full((8, 8), np.nan), "runs from nan to nan"),
        (np.array([["a"]]), "is <U1; expected uint8"),
        (np.array([[None]]), "is object; expected uint8"),
        (np.broadcast_to(np.uint8(0), (10_000, 10_000)), f"at most {MAX_PIXELS}"),
    ):
        with pytest.raises(InputError, match=message):
            rgb(array)


def test_case_a11_grey_without_a_scale_of_its_own_is_scaled_by_its_range() -> None:
    """An image of 32-bit integers from 0 to 255 came out black, as if it had 16 bits."""
    eight = np.array([[0, 1, 128, 255]], np.int32)
    deep = np.array([[0, 257, 32896, 65535]], np.int32)
    for levels in (eight, deep):
        sources: list[object] = [PIL.Image.fromarray(levels), PIL.Image.fromarray(levels.astype(np.float32))]
        sources += [encoded(image, "TIFF") for image in sources if isinstance(image, PIL.Image.Image)]
        for source in sources:
            assert rgb(source)[0, :, 1].tolist() == [0, 1, 128, 255]
    assert rgb(PIL.Image.fromarray(np.array([[0, 0.5, 1]], np.float32)))[0, :, 0].tolist() == [0, 128, 255]
    # The file or the mode says 16 bits: a dark image stays dark.
    assert rgb(PIL.Image.fromarray(eight.astype(np.uint16))).max() == 1
    assert rgb(encoded(PIL.Image.fromarray(eight.astype(np.uint16)), "PNG")).max() == 1
    assert rgb(b"P5 4 1 65535\n" + eight.astype(">u2").tobytes()).max() == 1
    for wrong in (np.array([[-1, 3]], np.int32), np.array([[0, np.nan]], np.float32), np.array([[7e4]], np.float32)):
        with pytest.raises(InputError, match=r"grey levels run from .* expected 0 to 65535"):
            rgb(PIL.Image.fromarray(wrong))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", r"the image is empty \(0 bytes\)"),
        (None, "an image is of type NoneType; expected a path, bytes, a file object or an array"),
        ("no_such.png", "image 'no_such.png' does not exist; give the path of a file"),
        ("nul\0.png", "is not a possible path"),
        ("./" + "x" * 5000 + "!", "cannot be read: File name too long"),
        (".", "is not a regular file"),
        ("/dev/zero", "is not a regular file"),
        (random.Random(1).randbytes(4000), "the image is not recognised; expected one of JPEG, PNG"),
        (b"GIF89a" + bytes(40), "the GIF image is damaged or cut short"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG is not supported; convert the image to one of JPEG, PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "EPS is not supported"),
        (b"%PDF-1.7", "PDF is not supported"),
        (b"SIMPLE  =                    T", "FITS is not supported"),
        (b"icns\0\0\0\x10", "ICNS is not supported"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000 is not supported"),
        (b"8BPS\0\1" + bytes(30), "PSD is not supported"),
        (b"\0\0\0\x1cftypavif", "AVIF, HEIC or MP4 is not supported"),
        (png(30_000, 30_000), f"30000 x 30000 pixels; expected at most {MAX_PIXELS}|more than {MAX_PIXELS} pixels"),
        (png(9_500, 9_500), f"has 9500 x 9500 pixels; expected at most {MAX_PIXELS}|more than {MAX_PIXELS} pixels"),
        (png(8, 8)[:33], "the PNG image is damaged or cut short"),
        (png(8, 8)[:8], "the PNG image is damaged or cut short"),
        (png(8, 8), "the PNG image is damaged or cut short"),
        (png(0, 8), "the PNG image is damaged or cut short"),
        (
            png(8, 8, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100 * 2**20))), bytes(72)),
            "the PNG image is damaged",
        ),
        (png(8, 8, chunk(b"tEXt", b"a\0" + bytes(65 * 2**20)), bytes(72)), "bytes; expected at most 67108864"),
    ],
)
def test_damaged_and_hostile_images_are_refused(source: object, message: str) -> None:
    """No crash, no decompression bomb, no blocking read, no decoder outside the list; messages hold no addresses."""
    with pytest.raises(InputError, match=message) as caught:
        rgb(source)
    assert " at 0x" not in str(caught.value)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP", "GIF"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_an_image_cut_in_the_middle_is_refused(format: str, part: float) -> None:
    """The rest of an incomplete image would be grey, and the model would describe it."""
    data = encoded(PIL.Image.fromarray(ramp(64, 64)), format)
    with pytest.raises(InputError, match="damaged or cut short") as caught:
        rgb(data[: int(len(data) * part)])
    assert " at 0x" not in str(caught.value)


def test_files_of_several_frames_are_refused_with_their_number() -> None:
    """The model would see only the first frame of an animation; and many frames must not all be decoded."""
    frames = [PIL.Image.fromarray(ramp(16, 16) // n) for n in (1, 2, 3)]
    for format, name in (("PNG", "PNG"), ("WEBP", "WEBP"), ("TIFF", "TIFF")):
        data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
        with pytest.raises(InputError, match=f"the {name} image has 3 frames; give each frame as an image"):
            rgb(data)
    pages = [PIL.Image.new("1", (1, 1))] * 110
    with pytest.raises(InputError, match="has 100 or more frames"):
        rgb(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]))


def test_a_tiff_whose_directories_form_a_loop_ends() -> None:
    """Directories that point at each other must not lead to an endless loop."""
    data = bytearray(encoded(SMALL, "TIFF"))
    first = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, first)[0]
    struct.pack_into("<I", data, first + 2 + 12 * entries, first)
    np.testing.assert_array_equal(rgb(bytes(data)), np.asarray(SMALL))


def test_harmless_irregularities_are_read() -> None:
    """Image viewers accept a broken colour profile, and a ZIP archive after a JPEG."""
    np.testing.assert_array_equal(rgb(encoded(SMALL, "PNG", icc_profile=b"broken")), np.asarray(SMALL))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "text")
    jpeg = encoded(SMALL, "JPEG")
    np.testing.assert_array_equal(rgb(jpeg + archive.getvalue()), rgb(jpeg))
    both = encoded(SMALL, "MPO", save_all=True, append_images=[SMALL.rotate(90)])
    assert rgb(both).shape == (30, 40, 3)


def test_flipped_bytes_raise_nothing_but_input_errors() -> None:
    """A decoder may raise other exceptions on damaged data; none of them may reach the caller."""
    chooser = random.Random(3)
    messages: set[str] = set()
    for format in ("PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP", "GIF"):
        whole = encoded(SMALL, format)
        for _ in range(60):
            data = bytearray(whole)
            for _ in range(4):
                data[chooser.randrange(len(data) if chooser.random() < 0.5 else 64)] = chooser.randrange(256)
            try:
                rgb(bytes(data))
            except InputError as error:
                messages.add(str(error))
    assert len(messages) > 5
    assert not any(" at 0x" in message for message in messages)


MEASURE = """
import sys
from phi4mm.errors import InputError
from phi4mm.machine import peak_resident_bytes
from phi4mm.processing.image import ImageProcessor, open_image
from phi4mm.protocol.messages import Image
import PIL.Image
PIL.Image.init()
before = peak_resident_bytes()
try:
    ImageProcessor()(open_image(Image(sys.argv[1])))
    print("read")
except InputError as error:
    print(error)
print(peak_resident_bytes() - before)
"""


def measured(data: bytes, folder: Path) -> tuple[str, float]:
    """What became of an image file in a process of its own, and by how many megabytes its peak memory grew."""
    path = folder / "image"
    path.write_bytes(data)
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    said, grown = done.stdout.splitlines()
    return said, int(grown) / 1e6


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize(
    ("size", "mode", "format", "options", "read"),
    [
        ((16383, 5400), "RGB", "WEBP", {"lossless": True}, False),
        ((9400, 9400), "RGB", "PNG", {"compress_level": 1}, False),
        ((9400, 9400), "L", "PNG", {"compress_level": 1}, True),
        ((9400, 9400), "RGB", "JPEG", {}, True),
        ((9400, 9400), "RGB", "JPEG", {"progressive": True, "subsampling": 0}, False),
        ((9400, 9400), "RGB", "TIFF", {"compression": "tiff_lzw"}, False),
        # The most that each way of decoding takes.
        ((4000, 4000), "RGBA", "WEBP", {"lossless": True, "quality": 0}, True),
        ((7100, 7200), "RGBA", "PNG", {"compress_level": 1}, True),
        ((5380, 5380), "RGBA", "PNG", {"compress_level": 1}, True),
        ((5050, 5050), "RGB", "JPEG", {"progressive": True, "subsampling": 0}, True),
        ((5600, 5600), "RGB", "TIFF", {"compression": "tiff_lzw", "tiffinfo": {278: 5600}}, True),
        ((9200, 9200), "I;16", "PNG", {"compress_level": 1}, True),
        ((9400, 9400), "P", "GIF", {}, True),
    ],
)
def test_case_b2_no_image_takes_more_than_300_megabytes(
    size: tuple[int, int], mode: str, format: str, options: dict[str, Any], read: bool, tmp_path: Path
) -> None:
    """3 KB of WEBP took 1.7 GB, to be cut to 36 crops in the end."""
    said, grown = measured(encoded(PIL.Image.new(mode, size), format, **options), tmp_path)
    refused = rf"the {format} image has {size[0]} x {size[1]} pixels and would take \d+ MB to decode; at most 256 MB"
    assert said == "read" if read else re.search(refused, said)
    assert grown < (300 if read else 5)


def test_case_b2_the_strip_of_a_tiff_counts() -> None:
    """libtiff holds a whole strip beside the image: as one strip this is refused, in many it is read."""
    image = PIL.Image.new("RGB", (6300, 6300))
    many, one = (encoded(image, "TIFF", compression="tiff_lzw", tiffinfo={278: rows}) for rows in (100, 6300))
    assert rgb(many).shape == (3150, 3150, 3)
    with pytest.raises(InputError, match="would take 277 MB to decode"):
        rgb(one)


def test_case_b2_a_jpeg_in_several_scans_counts_as_progressive() -> None:
    """libjpeg holds the coefficients of the whole image for either; an odd header counts as the worst."""

    def jpeg(sof: int, scan: int, filler: bytes = b"") -> io.BytesIO:
        frame = b"\xff" + bytes([sof]) + b"\0\x11\x08\0\x08\0\x08\x03" + bytes(9)
        return io.BytesIO(b"\xff\xd8" + filler + frame + b"\xff\xda\0\x0c" + bytes([scan]) + bytes(9))

    found = [(0xC0, 3), (0xC1, 3), (0xC0, 1), (0xC2, 3), (0xC2, 1)]
    assert [_holds_coefficients(jpeg(*each)) for each in found] == [False, False, True, True, True]
    assert _holds_coefficients(jpeg(0xC0, 3, b"\xff\xff\xff"))
    assert not _holds_coefficients(jpeg(0xC0, 3, b"\xff\xe1\0\x04ab"))
    assert _holds_coefficients(io.BytesIO(b"\xff\xd8\xff"))


def test_case_b2_images_up_to_the_bound_are_not_halved() -> None:
    """Prevents the pixels of ordinary images from changing, and a halved one from showing less than its crops can."""
    processor = ImageProcessor()
    assert processor.full_pixels(36) == FULL_PIXELS
    assert ImageProcessor(224, 28).full_pixels(36) == FULL_PIXELS
    assert FULL_PIXELS / 4 >= 36 * 448**2
    assert ImageProcessor(max_crops=64).full_pixels(64) / 4 >= 64 * 448**2
    image = PIL.Image.fromarray(ramp(300, 201))
    for data in (encoded(image, "PNG"), encoded(image, "JPEG"), image):
        assert open_image(Image(data), 300 * 201).size == (300, 201)
        half = open_image(Image(data), 300 * 201 - 1)
        assert half.size == (150, 101)
        near = np.asarray(open_image(Image(data)).reduce(2)).astype(int) - np.asarray(half)
        assert np.abs(near).mean() < 8


def test_case_b2_a_float_array_is_reduced_band_by_band() -> None:
    """9000 x 9000 of float64 took 3.7 GB as a whole; the rows are those of the whole."""
    levels = np.random.default_rng(0).random((150, 70, 3))
    whole = PIL.Image.fromarray(np.rint(levels * 255).astype(np.uint8))
    np.testing.assert_array_equal(np.asarray(open_image(Image(levels))), np.asarray(whole))
    np.testing.assert_array_equal(np.asarray(open_image(Image(levels), 5_000)), np.asarray(whole.reduce(2)))
    tracemalloc.start()
    open_image(Image(np.broadcast_to(np.float64(0.5), (3_000, 3_000, 3))))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6  # of NumPy; the array as floats of 64 bits is 216 MB


def test_case_b2_headers_without_end_are_refused_at_once() -> None:
    """A PNG of five million empty chunks took 25 s, a PPM with a comment of 60 MB took 12 s."""
    chunk = b"\0\0\0\0tEXt" + zlib.crc32(b"tEXt").to_bytes(4, "big")
    file = io.BytesIO()
    PIL.Image.new("L", (4, 4)).save(file, "PNG")
    for data, message in (
        (file.getvalue()[:33] + chunk * 70_000, "more than 65536 chunks"),
        (b"P6 #" + b"x" * 10_000_000, "a header of more than 4096 bytes"),
    ):
        begin = time.process_time()
        with pytest.raises(InputError, match=message):
            image_size(Image(data))
        assert time.process_time() - begin < 2
    commented = b"P5 # a\n#" + b"x" * 3_000 + b"\n100 100 255\n" + bytes(10_000)
    assert image_size(Image(commented)) == (100, 100)
