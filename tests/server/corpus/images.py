"""Images that a serious server must survive: damaged, extreme, forged, unusual and foreign ones."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageCms

from tests.server.corpus.case import Case

MEGABYTE = 10**6
RAMP = np.arange(40 * 30 * 3, dtype=np.uint32).reshape(30, 40, 3).astype(np.uint8)
SMALL = PIL.Image.fromarray(RAMP)


def encoded(format: str, image: PIL.Image.Image = SMALL, **options: Any) -> bytes:
    """A file of Pillow."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, rows: bytes | None = None) -> bytes:
    """A grey PNG of any size in its header, with any chunks before its pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0))
    rows = bytes((1 + -(-width * depth // 8)) * height) if rows is None else rows
    body = b"".join([header, *chunks, chunk(b"IDAT", zlib.compress(rows, 1)), chunk(b"IEND", b"")])
    return b"\x89PNG\r\n\x1a\n" + body


def text(size: int) -> bytes:
    """A chunk of text."""
    return chunk(b"tEXt", b"Comment\0" + bytes([120]) * size)


def apng(frames: int) -> bytes:
    """A PNG that says how many frames follow."""
    control = struct.pack(">IIIIIHHBB", 0, 4, 4, 0, 0, 1, 10, 0, 0)
    return png(4, 4, chunk(b"acTL", struct.pack(">II", frames, 0)), chunk(b"fcTL", control))


def gif(frames: int) -> bytes:
    """The second frame of a GIF, many times."""
    other = SMALL.rotate(180).convert("P")
    data = encoded("GIF", SMALL.convert("P"), save_all=True, append_images=[other], duration=10)
    return data[:-1] + data[data.rindex(b"\x21\xf9\x04") : -1] * frames + data[-1:]


def webp(frames: int) -> bytes:
    """The last frame of an animated WEBP, many times."""
    data = encoded("WEBP", save_all=True, append_images=[SMALL.rotate(180)])
    body = data[12:] + data[data.rindex(b"ANMF") :] * frames
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def tiff_pages(count: int) -> bytes:
    """A TIFF of many pages."""
    return encoded("TIFF", save_all=True, append_images=[SMALL] * (count - 1))


def tiff_loop(pages: int) -> bytes:
    """A TIFF whose last directory names the first one as the next."""
    data = bytearray(tiff_pages(pages))
    first = at = struct.unpack("<I", data[4:8])[0]
    for _ in range(pages):
        end = at + 2 + 12 * struct.unpack("<H", data[at : at + 2])[0]
        at = struct.unpack("<I", data[end : end + 4])[0]
    data[end : end + 4] = struct.pack("<I", first)
    return bytes(data)


def oriented(orientation: int) -> bytes:
    """A JPEG that lies on a side."""
    exif = PIL.Image.Exif()
    exif[274] = orientation
    return encoded("JPEG", exif=exif)


def polyglot() -> bytes:
    """A JPEG and a ZIP archive in one file."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "text")
    return encoded("JPEG") + archive.getvalue()


def transparent_palette(red: int) -> bytes:
    """The same indexes with one palette or another, one of them transparent."""
    image = PIL.Image.new("P", (40, 30), 1)
    image.putpalette([0, 0, 0, red, 40, 40])
    return encoded("PNG", image, transparency=0)


FOREIGN = {
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{} loop\n",
    "PDF": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>",
    "FITS": b"SIMPLE  =                    T".ljust(80) + b"END".ljust(2800),
    "ICNS": b"icns\0\0\0\x10ic07\0\0\0\x08",
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 ",
    "PSD": b"8BPS\0\x01" + bytes(6) + b"\0\x03\0\0\0\x09\0\0\0\x09\0\x08\0\x03",
    "McIdas": b"\0\0\0\0\0\0\0\x04" + bytes(248),
    "AVIF": b"\0\0\0\x1cftypavif" + bytes(16),
    "HTML": b"<!doctype html><title>404</title>",
    "XBM": b"#define im_width 8\n#define im_height 8\nstatic char im_bits[] = {0};",
}


def cases() -> Iterator[Case]:
    """All of them."""
    yield Case("empty", bytes, r"is empty \(0 bytes\)")
    yield Case("1x1", lambda: png(1, 1))
    yield Case("1x10000", lambda: png(1, 10_000), "expected at least 10 pixels a side")
    yield Case("10000x1", lambda: png(10_000, 1), "expected at least 10 pixels a side")
    yield Case("header only", lambda: encoded("PNG")[:33], "damaged or cut short")
    yield Case("signature only", lambda: b"\x89PNG\r\n\x1a\n", "damaged or cut short")
    yield Case("no pixels", lambda: png(40, 30, rows=b""), "damaged or cut short")
    yield Case("0x0", lambda: png(0, 0), "damaged or cut short")
    yield Case("cut in the middle", lambda: encoded("PNG")[: len(encoded("PNG")) // 2], "damaged or cut short")
    yield Case("JPEG cut in the middle", lambda: encoded("JPEG")[:700], "damaged or cut short")
    yield Case("random bytes", lambda: random.Random(0).randbytes(5000), "not recognised")
    yield Case("30k x 30k of one colour", lambda: png(30_000, 30_000, depth=1), "has more than 89478485 pixels")
    yield Case("2^31 wide", lambda: png(2**31 - 1, 2**31 - 1, rows=b""), "has more than 89478485 pixels")
    yield Case("text of 20 MB", lambda: png(40, 30, text(20 * MEGABYTE)))
    yield Case("text of 100 MB", lambda: png(40, 30, text(100 * MEGABYTE)), "has 1000[0-9]+ bytes; at most", 413)
    yield Case("GIF of 10,000 frames", lambda: gif(10_000))
    yield Case("WEBP of 10,000 frames", lambda: webp(10_000), "has 10002 frames")
    yield Case("APNG of 10,000 frames", lambda: apng(10_000), "has 10000 frames")
    yield Case("TIFF of 300 pages", lambda: tiff_pages(300), "has 100 or more frames")
    yield Case("TIFF that names itself", lambda: tiff_loop(1))
    yield Case("TIFF in a loop", lambda: tiff_loop(2), "has 2 frames")
    yield Case("CMYK", lambda: encoded("JPEG", SMALL.convert("CMYK")))
    yield Case("16 bits", lambda: encoded("PNG", PIL.Image.fromarray(RAMP[..., 0].astype(np.uint16) * 257)))
    yield Case("1 bit", lambda: encoded("PNG", SMALL.convert("1")))
    yield Case("palette with transparency", lambda: transparent_palette(200))
    yield Case("grey with alpha", lambda: encoded("PNG", SMALL.convert("LA")))
    yield from (Case(f"EXIF orientation {n}", partial(oriented, n)) for n in (*range(1, 9), 0, 99))
    yield Case("broken ICC", lambda: encoded("PNG", icc_profile=b"\xff" * 200))
    yield Case("broken ICC in JPEG", lambda: encoded("JPEG", icc_profile=b"\xff" * 70_000))
    yield from (Case(name, partial(bytes, data), "not supported|not recognised") for name, data in FOREIGN.items())
    yield Case("JPEG and ZIP in one", polyglot)
    yield Case("zip bomb of rows", lambda: png(40, 30, rows=bytes(50 * MEGABYTE)))
