"""FLAC: files that are joined are told apart, and the last frame says how many samples there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from phi4mm.processing.containers.part import MAX_CLIPS, PADDING, Part, cut_short, undecodable
from phi4mm.processing.section import Section

_MAX_FRAME = 2**20  # bytes at the end that are searched for the last frame
_CANDIDATES = 4  # what looks like its header, of which the checksums are computed
_SYNC = re.compile(rb"\xff[\xf8\xf9]")  # begins a frame
_TAIL = 128  # bytes of an ID3v1 tag


def split(section: Section, start: int) -> Iterator[Part]:
    """One part for each of the joined files, its length written into its header where that says 0.

    raises  InputError when the last frame is incomplete or followed by anything but a tag
    """
    # STREAMINFO comes first and always has 34 bytes.
    marks = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")
    begins = sorted({at for mark in marks for at in islice(section.find_all(mark, start), MAX_CLIPS + 1)})
    if begins[:1] != [start]:
        raise undecodable("its FLAC header has no STREAMINFO.")
    for begin, end in zip(begins, [*begins[1:], section.size], strict=True):
        header = section.at(begin, 42)
        stated = int.from_bytes(header[21:26], "big") & 0xF_FFFF_FFFF
        end = _without_tail(section, begin, end)
        samples = _last_sample(section, begin, end, int.from_bytes(header[8:10], "big"))
        if stated and samples > stated:
            raise cut_short(f"its header states {stated} samples, its frames go on to {samples}")
        exact = stated or samples
        patched = header[:21] + bytes([header[21] & 0xF0 | exact >> 32]) + (exact & 0xFFFF_FFFF).to_bytes(4, "big")
        yield Part(Section(section, patched, (begin + 26, end)), exact)


def _without_tail(section: Section, begin: int, end: int) -> int:
    """The end without an ID3v1 tag and a few zeros behind the frames."""
    if end - begin > _TAIL and section.at(end - _TAIL, 3) == b"TAG":
        end -= _TAIL
    tail = section.at(max(begin, end - PADDING), min(PADDING, end - begin))
    # A checksum may end in a zero byte of its own, so two of them are left.
    zeros = len(tail) - len(tail.rstrip(b"\0"))
    return end - max(0, zeros - 2)


def _last_sample(section: Section, begin: int, end: int, block: int) -> int:
    """Samples up to the end of the last frame, which ends at `end` or up to two zeros before."""
    first = max(begin, end - _MAX_FRAME)
    data = section.at(first, end - first)
    tried = 0
    for at in reversed([match.start() for match in _SYNC.finditer(data)]):
        until = _frame_end(data[at : at + 16], block)
        if until is not None:
            if any(not _crc16(data[at : len(data) - zeros]) for zeros in _zeros(data)):
                return until
            tried += 1
            if tried == _CANDIDATES:
                break
    raise cut_short("its last FLAC frame is incomplete, or something else follows it")


def _zeros(data: bytes) -> range:
    """How many zeros may stand behind the frame: 0, 1 or 2."""
    return range(min(2, len(data) - len(data.rstrip(b"\0"))) + 1)


def _frame_end(head: bytes, block: int) -> int | None:
    """The sample after a frame by its header, None where these bytes are no frame header."""
    if len(head) < 16 or head[3] & 1:
        return None
    size, rate = head[2] >> 4, head[2] & 15
    more = 8 - (head[4] ^ 0xFF).bit_length()  # leading ones: bytes of the number, as in UTF-8
    if more in (1, 8) or size == 0 or rate == 15:
        return None
    number = head[4] & (0x7F >> more)
    at = 4 + max(more, 1)
    for byte in head[5:at]:
        number = number << 6 | byte & 0x3F
    if size in (6, 7):
        samples = int.from_bytes(head[at : at + size - 5], "big") + 1
        at += size - 5
    else:
        samples = 192 if size == 1 else 576 << size - 2 if size < 6 else 256 << size - 8
    at += {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if _crc8(head[:at]) != head[at]:
        return None
    return number + samples if head[1] & 1 else number * block + samples


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = _CRC8[crc ^ byte]
    return crc


def _crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xFF00) ^ _CRC16[crc >> 8 ^ byte]
    return crc


def _table(polynomial: int, bits: int) -> tuple[int, ...]:
    """A CRC's table by byte, most significant bit first."""
    table = []
    for crc in (byte << bits - 8 for byte in range(256)):
        for _ in range(8):
            crc = crc << 1 ^ (polynomial if crc >> bits - 1 else 0)
            crc &= (1 << bits) - 1
        table.append(crc)
    return tuple(table)


_CRC8, _CRC16 = _table(0x07, 8), _table(0x8005, 16)
