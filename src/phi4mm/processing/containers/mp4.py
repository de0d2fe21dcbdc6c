"""MP4, M4A and MOV: whether every box is whole, and where joined files begin."""

from __future__ import annotations

from collections.abc import Iterator

from phi4mm.processing.containers.part import Part, check_rest, cut_short, damaged, undecodable
from phi4mm.processing.section import Section

MAX_BOXES = 100_000
_FIRST = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # the box that begins a file; MOV may lack the first


def begins(head: bytes) -> bool:
    """Whether these 12 bytes begin such a file."""
    return head[4:8] in _FIRST


def split(section: Section, start: int) -> Iterator[Part]:
    """One part for each of the joined files: a second `ftyp` begins another.

    raises  InputError when a box is cut short or no `moov` says what the samples are
    """
    at = begin = start
    names: set[bytes] = set()
    for _ in range(MAX_BOXES):
        header = section.at(at, 16)
        name = header[4:8]
        if len(header) < 8 or not all(32 <= byte < 127 or byte == 0xA9 for byte in name):
            break
        if names and name == b"ftyp":
            yield _part(section, begin, at, names)
            begin, names = at, set()
        if name == b"moov" and name in names:
            raise damaged(f"a second list of its samples begins at byte {at}")
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:
            length = section.size - at
        if length < 8:
            break
        if at + length > section.size:
            raise cut_short(f"its box {name!r} states {length} bytes, it holds {section.size - at}")
        names.add(name)
        at += length
    else:
        raise damaged(f"it has more than {MAX_BOXES} boxes")
    check_rest(section, at)
    yield _part(section, begin, at, names)


def _part(section: Section, begin: int, end: int, names: set[bytes]) -> Part:
    if b"moov" not in names:
        raise undecodable("it holds no list of its samples (no `moov` box).")
    return Part(Section(section, (begin, end)), demuxer="mov")
