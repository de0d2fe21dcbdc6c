"""Images to crops: decode files and arrays to RGB, and cut them along a dynamic grid (pixels.py converts to floats).

Shape legend: X pixels along a crop's side.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import PIL.ExifTags
import PIL.Image

from phi4mm.config.validate import integer
from phi4mm.errors import ConfigError, InputError
from phi4mm.processing.media_io import as_array, open_source
from phi4mm.protocol.inputs import ImageCrops
from phi4mm.protocol.messages import Image

MAX_ENCODED = 64 * 2**20  # bytes
MAX_PIXELS = 89_478_485  # from here on Pillow warns of a decompression bomb
MAX_DECODED = 256 * 10**6  # bytes while a file is decoded
FULL_PIXELS = 29_000_000  # halved along each side they are more than 36 published crops show
MAX_IMAGES = 64  # in one prompt
MAX_CROPS = 64  # of one image, without the global view
CROP_BUDGET = 144  # of all images of one prompt
MIN_SIDE = 10  # pixels of a resized side, as published

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
_JPEGS = ("JPEG", "MPO")
_SCALED = ("PNG", "PPM")  # whose grey of 32 bits in Pillow was 16 bits in the file
_CHANNELS = (1, 3, 4)  # of an array
MAX_CHUNKS = 65_536  # of a PNG
MAX_HEADER = 4_096  # bytes of a PPM
_BAND = 64  # rows converted at a time
_BITS, _SAMPLES, _ROWS_PER_STRIP, _TILE_WIDTH, _TILE_HEIGHT = 258, 277, 278, 322, 323  # tags of TIFF
_TURNS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"GIF8": "GIF",
    b"%PDF": "PDF",
    b"%!PS": "EPS",
    b"8BPS": "PSD",
    b"<svg": "SVG",
    b"<?xml": "SVG or XML",
    b"SIMPLE": "FITS",
    b"icns": "ICNS",
    b"\0\0\0\x0cjP": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
}


@dataclass(frozen=True)
class ImagePlan:
    """How one image is cut into crops; it determines pixels, masks and the number of tokens.

    grid     (rows, columns) of crops
    resized  (width, height) of the image on the canvas, in pixels
    padding  (right, bottom) white pixels that fill the canvas
    valid    (across, down) patches of the canvas that hold image, partly padded ones included
    side     patches along a crop's side
    """

    grid: tuple[int, int]
    resized: tuple[int, int]
    padding: tuple[int, int]
    valid: tuple[int, int]
    side: int

    @property
    def tokens(self) -> int:
        """The number of placeholders of the image."""
        return image_tokens(self.side, *self.valid)


@dataclass(frozen=True)
class ImageProcessor:
    """Cuts an image into at most `max_crops` crops of `crop_size` pixels, with patches of `patch_size` pixels."""

    crop_size: int = 448
    patch_size: int = 14
    max_crops: int = 36

    def __post_init__(self) -> None:
        if self.patch_size < 1 or self.crop_size < 1 or self.crop_size % (2 * self.patch_size):
            raise ConfigError(
                f"crop_size {self.crop_size} is not an even number of patches of patch_size {self.patch_size}"
            )
        integer("max_crops", self.max_crops, 1, MAX_CROPS, error=ConfigError)

    def plan(self, width: int, height: int, max_crops: int | None = None) -> ImagePlan:
        """Choose the grid for an image of width x height pixels.

        max_crops  a lower limit for this image than that of the processor
        raises     InputError if the image is so narrow that a resized side would be shorter than 10 pixels
        """
        crop, patch = self.crop_size, self.patch_size
        limit = self.max_crops if max_crops is None else min(self.max_crops, max_crops)
        assert limit >= 1
        rows, columns = self._grid(width, height, limit)
        fit_width, fit_height = crop * columns / width, crop * rows / height
        if fit_width < fit_height:
            resized = (crop * columns, int(height * fit_width))
        else:
            resized = (int(width * fit_height), crop * rows)
        if min(resized) < MIN_SIDE:
            raise InputError(
                f"the image of {width} x {height} pixels would be resized to {resized[0]} x {resized[1]}; "
                f"expected at least {MIN_SIDE} pixels a side, so crop it to a less extreme shape"
            )
        padding = (crop * columns - resized[0], crop * rows - resized[1])
        side = crop // patch
        valid = (side * columns - padding[0] // patch, side * rows - padding[1] // patch)
        return ImagePlan((rows, columns), resized, padding, valid, side)

    def __call__(self, image: PIL.Image.Image, max_crops: int | None = None) -> ImageCrops:
        """Resize an RGB image, pad it with white on the right and bottom, and cut it into (crops, X, X, 3) uint8.

        raises  InputError as `plan` does
        """
        return self.cut(image, self.plan(*image.size, max_crops))

    def cut(self, image: PIL.Image.Image, plan: ImagePlan) -> ImageCrops:
        """As `__call__`, by a plan that was made before: of this image, or of one that was halved since."""
        (rows, columns), size = plan.grid, self.crop_size
        canvas = np.full((rows * size, columns * size, 3), 255, np.uint8)
        resized = image.resize(plan.resized, PIL.Image.Resampling.BILINEAR)
        canvas[: plan.resized[1], : plan.resized[0]] = np.asarray(resized)
        crops = canvas.reshape(rows, size, columns, size, 3).swapaxes(1, 2).reshape(-1, size, size, 3)
        return ImageCrops(np.ascontiguousarray(crops), plan.grid, plan.valid, plan.side)

    def full_pixels(self, max_crops: int) -> int:
        """What `open_image` may halve above: what is left is more than the crops show."""
        return max(FULL_PIXELS, 4 * max_crops * self.crop_size**2)

    def _grid(self, width: int, height: int, max_crops: int) -> tuple[int, int]:
        """(rows, columns): the crops that cover the image or, if they exceed the limit, the nearest aspect ratio."""
        columns, rows = -(-width // self.crop_size), -(-height // self.crop_size)
        if rows * columns <= max_crops:
            return rows, columns
        best, distance = (1, 1), float("inf")
        grids = [(b, a) for a in range(1, max_crops + 1) for b in range(1, max_crops // a + 1)]
        for grid in sorted(grids, key=lambda grid: grid[0] * grid[1]):
            off = abs(width / height - grid[1] / grid[0])
            large = width * height > 0.5 * self.crop_size**2 * grid[0] * grid[1]
            if off < distance or (off == distance and large):
                best, distance = grid, off
        return best


def image_tokens(side: int, across: int, down: int) -> int:
    """The number of placeholders: one for each 2x2 patches, each row's end, and between canvas and global view.

    side          patches along a crop's side
    across, down  patches of the canvas that hold image
    """
    half = side // 2
    return half * (half + 1) + 1 + -(-down // 2) * (-(-across // 2) + 1)


def crop_limit(images: int, max_crops: int) -> int:
    """The limit of crops for each of `images` images: they share a budget of 144, and each gets at least one."""
    return max(1, min(max_crops, CROP_BUDGET // images))


def image_size(image: Image) -> tuple[int, int]:
    """(width, height) in pixels as header or shape say, upright; nothing is decoded.

    A PNG whose EXIF follows its pixels may yet turn out to lie on its side.
    raises  InputError for what `open_image` refuses by header or shape
    """
    source = _source(image)
    if isinstance(source, np.ndarray):
        height, width = _channels_last(source).shape[:2]
        return width, height
    if isinstance(source, PIL.Image.Image):
        _check_pixels(*source.size, "the image")
        return _upright_size(source)
    with open_source(source, "image", MAX_ENCODED) as file, _header(file) as (opened, _):
        return _upright_size(opened)


def open_image(image: Image, full: int = FULL_PIXELS) -> PIL.Image.Image:
    """Decode an image to RGB: EXIF orientation applied, transparency on white, deep grey scaled to 8 bits.

    JPEG (of a multi-image JPEG the main one), PNG, PPM, PGM, BMP, TIFF, WEBP and GIF (its first frame), recognised by
    content; at most 64 MiB encoded, 89,478,485 pixels and 256 MB while it is decoded. Above `full` pixels each side is
    halved meanwhile. Arrays and torch tensors are (height, width), or with 1, 3 or 4 channels as last axis, or else as
    first; uint8 or floats in [0, 1].
    Grey of 16 bits (I;16, and PNG and PPM of 16 bits) is divided by 65535. 32-bit integers (I) and floats (F) have no
    scale of their own: white is the first of 1 (F only), 255 and 65535 that no level exceeds.
    raises  InputError for anything else, for damaged data and for files of several frames
    """
    source = _source(image)
    if isinstance(source, np.ndarray):
        return _from_array(source, full)
    if isinstance(source, PIL.Image.Image):
        return _upright(*_decode(source, "the image", full))
    with open_source(source, "image", MAX_ENCODED) as file:
        decoded = _from_file(file, full)
    return _upright(*decoded)  # here, as the file's own pixels are freed by now


def _source(image: Image) -> object:
    return image.source if isinstance(image.source, PIL.Image.Image) else as_array(image.source)


def _from_file(file: BinaryIO, full: int) -> tuple[PIL.Image.Image, int]:
    with _header(file) as (image, name):
        half = _pixels(image) > full
        _check_memory(image, name, 2 if half else 1, buffered=image.format in _JPEGS and _holds_coefficients(file))
        if half and image.format in _JPEGS:
            image.draft(None, (image.width // 2, image.height // 2))
        return _decode(image, name, full)


@contextmanager
def _header(file: BinaryIO) -> Iterator[tuple[PIL.Image.Image, str]]:
    """The image in a file before it is decoded, and what to call it in messages. Raises InputError."""
    format = _signature(file.read(16))
    file.seek(0)
    name = f"the {format} image" if format else "the image"
    _check_header(file, format)
    if format and format not in FORMATS:
        raise InputError(f"{format} is not supported; convert the image to one of {', '.join(FORMATS)}")
    try:
        with PIL.Image.open(file, formats=FORMATS) as image:
            if (frames := _frames(image)) != "1":
                raise InputError(f"{name} has {frames} frames; give each frame as an image of its own")
            _check_pixels(*image.size, name)
            yield image, name
    except InputError:
        raise
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):
        raise InputError(f"{name} has more than {MAX_PIXELS} pixels; make it smaller") from None
    except PIL.UnidentifiedImageError:
        problem = "is damaged or cut short" if format else "is not recognised"
        raise InputError(f"{name} {problem}; expected one of {', '.join(FORMATS)}") from None
    except Exception as error:
        raise _damaged(name, error) from error


def _check_header(file: BinaryIO, format: str | None) -> None:
    """Refuse what Pillow would read for seconds before it knows the size. Raises InputError."""
    if format == "PNG":
        at = 8
        for _ in range(MAX_CHUNKS):
            file.seek(at)
            head = file.read(8)
            if len(head) < 8 or head[4:] == b"IEND":
                break
            at += 12 + int.from_bytes(head[:4], "big")
        else:
            raise InputError(f"the PNG image has more than {MAX_CHUNKS} chunks; export it again")
    elif format == "PPM":
        head = file.read(MAX_HEADER)
        words = re.sub(rb"#[^\r\n]*", b"", head).split()
        if len(head) == MAX_HEADER and len(words) < (3 if head[1:2] in b"14" else 4):
            raise InputError(f"the PPM image has a header of more than {MAX_HEADER} bytes; export it again")
    file.seek(0)


def _decode(image: PIL.Image.Image, name: str, full: int) -> tuple[PIL.Image.Image, int]:
    """An RGB image, as it lies in the file, and its EXIF orientation."""
    _check_pixels(*image.size, name)
    try:
        image.load()
        return _to_rgb(image, full), image.getexif().get(PIL.ExifTags.Base.Orientation, 1)
    except InputError:
        raise
    # On hostile bytes Pillow's decoders raise nearly every class of error; here all mean a damaged file.
    except Exception as error:
        raise _damaged(name, error) from error


def _upright_size(image: PIL.Image.Image) -> tuple[int, int]:
    # Pillow decodes a PNG to look for EXIF that may follow its pixels.
    known = image.format != "PNG" or "exif" in image.info
    turned = known and image.getexif().get(PIL.ExifTags.Base.Orientation) in (5, 6, 7, 8)
    return (image.height, image.width) if turned else image.size


def _upright(image: PIL.Image.Image, orientation: object) -> PIL.Image.Image:
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _pixels(image: PIL.Image.Image) -> int:
    return image.width * image.height


def _to_rgb(image: PIL.Image.Image, full: int) -> PIL.Image.Image:
    """A new image, in bands of rows: a conversion of the whole would hold several copies of it."""
    top = _white(image)

    def band(start: int, end: int) -> PIL.Image.Image:
        cropped = image.crop((0, start, image.width, end))
        return _band_to_rgb(cropped) if top is None else _grey_to_rgb(cropped, top)

    return _joined(*image.size, full, band)


def _joined(width: int, height: int, full: int, band: Callable[[int, int], PIL.Image.Image]) -> PIL.Image.Image:
    """The RGB image whose rows from start to end `band` makes; halved along each side above `full` pixels."""
    factor = 2 if width * height > full else 1
    out = PIL.Image.new("RGB", (-(-width // factor), -(-height // factor)))
    for start in range(0, height, _BAND):
        rgb = band(start, min(start + _BAND, height))
        out.paste(rgb.reduce(factor) if factor > 1 else rgb, (0, start // factor))
    return out


def _band_to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def _grey_to_rgb(image: PIL.Image.Image, top: float) -> PIL.Image.Image:
    """Grey levels 0 to `top` to RGB; the level that stands for transparency becomes white."""
    grey = np.asarray(image)
    level = np.rint(grey * (255.0 / top)).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        level[grey == transparent] = 255
    return PIL.Image.fromarray(level).convert("RGB")


def _white(image: PIL.Image.Image) -> float | None:
    """The level that is white in an image of deep grey; None for others. Raises InputError for levels beyond."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return None
    low, high = np.inf, -np.inf
    for start in range(0, image.height, _BAND):
        band = np.asarray(image.crop((0, start, image.width, min(start + _BAND, image.height))))
        low, high = np.minimum(low, band.min()), np.maximum(high, band.max())  # which pass NaN on
    known = {"I": (255.0, 65535.0), "F": (1.0, 255.0, 65535.0)}.get(image.mode, (65535.0,))
    if image.mode == "I" and image.format in _SCALED:
        known = (65535.0,)
    white = next((top for top in known if low >= 0 and high <= top), None)
    if white is None:
        raise InputError(f"the image's grey levels run from {low:g} to {high:g}; expected 0 to {known[-1]:g}")
    return white


def _from_array(array: npt.NDArray[Any], full: int) -> PIL.Image.Image:
    array = _channels_last(array)
    if array.dtype.kind == "f":
        if not (array.min() >= 0 and array.max() <= 1):
            raise InputError(f"a float image array runs from {array.min():g} to {array.max():g}; expected 0 to 1")
    elif array.dtype != np.uint8:
        raise InputError(f"an image array is {array.dtype}; expected uint8, or floats in [0, 1]")

    def band(start: int, end: int) -> PIL.Image.Image:
        rows = array[start:end, :, 0] if array.shape[2:] == (1,) else array[start:end]
        level = np.rint(rows * 255) if rows.dtype.kind == "f" else rows
        return _band_to_rgb(PIL.Image.fromarray(np.ascontiguousarray(level, np.uint8)))

    return _joined(array.shape[1], array.shape[0], full, band)


def _channels_last(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(height, width) or (height, width, channels). Raises InputError for other shapes."""
    shape = array.shape
    if array.ndim == 3 and shape[2] not in _CHANNELS and shape[0] in _CHANNELS:
        array = np.moveaxis(array, 0, 2)
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), *((count,) for count in _CHANNELS)) or 0 in shape:
        raise InputError(
            f"an image array has shape {shape}; expected (height, width), (height, width, channels) or "
            "(channels, height, width), with 1, 3 or 4 channels"
        )
    _check_pixels(array.shape[1], array.shape[0], "the image")
    return array


def _check_memory(image: PIL.Image.Image, name: str, factor: int, *, buffered: bool) -> None:
    """Refuse a file that takes more than MAX_DECODED bytes to decode. Raises InputError.

    factor    what each side is divided by on the way to RGB; JPEG is decoded at that size
    buffered  whether libjpeg holds the coefficients of the whole image
    """
    pixels = _pixels(image)
    reduced = -(-pixels // factor**2)
    tiles = getattr(image, "tile", ())  # (codec, ...) of each part
    codec = str(tiles[0][0]) if tiles else ""
    own = pixels * (1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4)
    beside = held = 0  # what the decoder has while it decodes, and goes on to have
    if image.format in _JPEGS:
        own, beside = -(-own // factor**2), 2 * len(image.getbands()) * pixels if buffered else 0
    elif image.format == "WEBP":
        beside, held = 12 * pixels, 8 * pixels  # two canvases, and one as bytes
    elif codec == "libtiff":
        beside = _strip_bytes(image)
    elif codec in ("bmp_rle", "ppm", "ppm_plain"):
        beside = 2 * own  # decoders in Python
    needed = own + max(beside, held + 4 * reduced)
    if needed > MAX_DECODED:
        raise InputError(
            f"{name} has {image.width} x {image.height} pixels and would take {needed // 10**6} MB to decode; at most "
            f"{MAX_DECODED // 10**6} MB are spent, so make it smaller, or save it as a JPEG that is not progressive"
        )


def _strip_bytes(image: PIL.Image.Image) -> int:
    """The decoded size of a TIFF's strip or tile, as libtiff holds one."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    rows = min(int(tags.get(_ROWS_PER_STRIP, image.height)), image.height)
    area = int(tags.get(_TILE_WIDTH, image.width)) * int(tags.get(_TILE_HEIGHT, rows))
    if image.info.get("compression") in ("jpeg", "tiff_jpeg"):
        return 8 * area
    return area * max(tags.get(_BITS, (1,))) * int(tags.get(_SAMPLES, 1)) // 8


def _holds_coefficients(file: BinaryIO) -> bool:
    """Whether a JPEG is progressive, or has its components in several scans; true where its header is odd."""
    file.seek(2)
    components = 0  # of a sequential image
    for _ in range(1000):
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF:
            return True
        body = file.tell()
        if head[1] in (0xC0, 0xC1):
            components = file.read(6)[-1]
        elif head[1] == 0xDA:
            return not components or file.read(1)[0] < components
        file.seek(body + int.from_bytes(head[2:], "big") - 2)
    return True


def _check_pixels(width: int, height: int, name: str) -> None:
    if min(width, height) < 1 or width * height > MAX_PIXELS:
        raise InputError(f"{name} has {width} x {height} pixels; expected at least 1 and at most {MAX_PIXELS}")


def _damaged(name: str, error: Exception) -> InputError:
    # Pillow's message can contain the address of an object, so only the class of the error is shown.
    return InputError(f"{name} is damaged or cut short ({type(error).__name__}); export it again")


def _frames(image: PIL.Image.Image) -> str:
    """The number of frames of a file; a GIF counts as its first, a multi-image JPEG of phones as its main image."""
    if image.format in ("MPO", "GIF") or not getattr(image, "is_animated", False):
        return "1"
    if image.format != "TIFF":
        return str(getattr(image, "n_frames", 1))
    # Counting the pages of a TIFF reads its directories, and a hostile file can have millions of them.
    for page in range(1, 100):
        try:
            image.seek(page)
        except EOFError:
            image.seek(0)
            return str(page)
    return "100 or more"


def _signature(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        return "AVIF, HEIC or MP4"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "PPM"
    return next((name for magic, name in _SIGNATURES.items() if head.startswith(magic)), None)
