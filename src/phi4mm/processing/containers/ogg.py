"""Ogg: a walk over the pages, which finds every clip of a chain and every page that is missing or damaged."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from phi4mm.errors import InputError
from phi4mm.processing.containers import flac
from phi4mm.processing.containers.part import Part, check_rest, cut_short, damaged, undecodable
from phi4mm.processing.section import Section

MAX_PAGES = 400_000  # half an hour of one packet a page has 90,000
_BEGINS, _ENDS = 2, 4  # flags of a page
_FLAC_LEAD = 9  # bytes in front of the FLAC file's own first bytes
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def split(section: Section, start: int) -> Iterator[Part]:
    """One part for each link of a chain.

    raises  InputError when pages are missing or damaged, a link has no end, or several streams run at once
    """
    at, begin, serial, number, open_link = start, start, b"", 0, False
    contents: list[tuple[int, int]] = []  # of the pages of a FLAC stream, which end to end are a FLAC file
    for _ in range(MAX_PAGES):
        if at >= section.size or section.at(at, 4) != b"OggS":
            break
        page = _page(section, at)
        flags, sequence = page[5], int.from_bytes(page[18:22], "little")
        if flags & _BEGINS:
            if open_link and number == 1:
                raise InputError("the audio clip holds several Ogg streams at once; expected one, so convert it")
            if open_link:
                raise cut_short(f"the Ogg stream before byte {at} has no last page")
            is_flac = _is_flac(page)
            contents.clear()
            begin, serial, number, open_link = at, page[14:18], sequence, True
        if not open_link or page[14:18] != serial or sequence != number:
            raise damaged(f"the Ogg page at byte {at} does not follow the one before")
        if is_flac:
            contents.append((at + 27 + page[26] + (_FLAC_LEAD if flags & _BEGINS else 0), at + len(page)))
        number += 1
        at += len(page)
        if flags & _ENDS:
            open_link = False
            if is_flac:
                yield from flac.split(Section(section, *contents), 0)
            else:
                yield Part(Section(section, (begin, at)))
    else:
        raise damaged(f"it has more than {MAX_PAGES} Ogg pages")
    if open_link:
        raise cut_short("its Ogg stream has no last page")
    check_rest(section, at)


def _page(section: Section, at: int) -> bytes:
    """The whole page at `at`."""
    head = section.at(at, 27)
    table = section.read(head[26]) if len(head) == 27 else b""
    page = head + table + section.read(sum(table))
    if len(head) < 27 or len(table) < head[26] or len(page) < 27 + len(table) + sum(table):
        raise cut_short("its last Ogg page is incomplete")
    if _checksum(page[:22] + bytes(4) + page[26:]) != int.from_bytes(page[22:26], "little"):
        raise damaged(f"the Ogg page at byte {at} has a wrong checksum")
    return page


def _checksum(data: bytes) -> int:
    """Ogg's CRC-32: zlib's polynomial with every byte and the result mirrored, and neither inverted."""
    crc = zlib.crc32(data.translate(_MIRRORED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(_MIRRORED), "big")


def _is_flac(page: bytes) -> bool:
    """Whether a first page begins a FLAC stream. raises InputError for codecs that libsndfile does not read."""
    content = page[27 + page[26] :]
    if not content.startswith((b"\x01vorbis", b"OpusHead", b"\x7fFLAC")):
        raise undecodable(f"its Ogg stream begins with {content[:8]!r}, neither Vorbis, Opus nor FLAC.")
    return content[0] == 0x7F
