"""WebM and Matroska: whether every element is whole, and where joined files begin.

A live stream states no lengths: one that was cut between two elements cannot be told from one that ended there.
"""

from __future__ import annotations

from collections.abc import Iterator

from phi4mm.processing.containers.part import Part, check_rest, cut_short, damaged
from phi4mm.processing.section import Section

MAX_ELEMENTS = 400_000
MAGIC = b"\x1aE\xdf\xa3"
_OPEN = (b"\x18S\x80g", b"\x1fC\xb6u")  # Segment and Cluster, whose elements are walked too
_MAX_BLOCK = 2**24  # bytes of a SimpleBlock or BlockGroup
_BLOCKS = (b"\xa3", b"\xa0")


def split(section: Section, start: int) -> Iterator[Part]:
    """One part for each of the joined files.

    raises  InputError when an element is cut short or a block is larger than 16 MiB
    """
    at = begin = start
    for _ in range(MAX_ELEMENTS):
        name, length, body = _element(section, at)
        if not name:
            break
        if name == MAGIC and at > begin:
            yield Part(Section(section, (begin, at)), demuxer="matroska")
            begin = at
        if length is None and name not in _OPEN:
            raise damaged(f"the element at byte {at} states no length")
        if body + (length or 0) > section.size:
            raise cut_short(f"the element at byte {at} states {length} bytes, it holds {section.size - body}")
        if name in _BLOCKS and (length or 0) > _MAX_BLOCK:
            raise damaged(f"the block at byte {at} has {length} bytes, at most {_MAX_BLOCK} are read")
        at = body + (0 if name in _OPEN else length or 0)
    else:
        raise damaged(f"it has more than {MAX_ELEMENTS} elements")
    check_rest(section, at)
    yield Part(Section(section, (begin, at)), demuxer="matroska")


def _element(section: Section, at: int) -> tuple[bytes, int | None, int]:
    """Name, length (None where it is unknown) and first byte of the element at `at`; no name where none is."""
    data = section.at(at, 12)
    if not data:
        return b"", 0, at
    name_size = 9 - data[0].bit_length()
    if name_size > 4:
        return b"", 0, at
    first = data[name_size] if len(data) > name_size else 0
    size = 9 - first.bit_length()
    if size > 8 or len(data) < name_size + size:
        raise cut_short(f"the element at byte {at} is incomplete")
    length = int.from_bytes(data[name_size : name_size + size], "big") & (1 << 7 * size) - 1
    return data[:name_size], None if length == (1 << 7 * size) - 1 else length, at + name_size + size
