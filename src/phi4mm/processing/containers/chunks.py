"""Containers of chunks or of one stated size: WAV, RF64, AIFF, W64, CAF, AU, NIST."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from phi4mm.errors import InputError
from phi4mm.processing.containers import mpeg
from phi4mm.processing.containers.part import Part, check_rest, cut_short, damaged, undecodable
from phi4mm.processing.section import Section

MAX_CHUNKS = 1_000
_MAX_MAGICS = 10_000  # places that are looked at for a second file
_NO_PROMISE = 0x7FFF_F000  # what programs write that cannot seek back is 0, or from here on


@dataclass(frozen=True)
class _Layout:
    head: int  # bytes in front of the first chunk
    size: str  # struct's format of a chunk's size
    name: int = 4  # bytes of a chunk's name
    counts_itself: bool = False
    align: int = 2


_LAYOUTS = {
    b"RIFF": _Layout(12, "<I"),
    b"RF64": _Layout(12, "<I"),
    b"RIFX": _Layout(12, ">I"),
    b"FORM": _Layout(12, ">I"),
    b"riff": _Layout(40, "<Q", 16, True, 8),
    b"caff": _Layout(8, ">Q", align=1),
}
_KINDS = {b"RIFF": (b"WAVE",), b"RF64": (b"WAVE",), b"RIFX": (b"WAVE",), b"FORM": (b"AIFF", b"AIFC")}


@dataclass
class _Found:
    """What the chunks of one file say."""

    size_at: tuple[int, str] = (0, "")  # where the size of the samples is written, and in which format
    samples: tuple[int, int] = (0, 0)  # begin and end
    mpeg: bool = False
    to_the_end: bool = False  # the size is no promise


def begins(head: bytes) -> bool:
    """Whether these 12 bytes begin such a file."""
    if head[:4] in _LAYOUTS:
        return head[8:12] in _KINDS.get(head[:4], (head[8:12],))
    return head[:4] == b".snd" or head[:7] == b"NIST_1A"


def split(section: Section, start: int, max_seconds: float) -> Iterator[Part]:
    """One part for each of the joined files.

    raises  InputError when a file is cut short, followed by what is none, or in IMA ADPCM
    """
    at = start
    while begins(section.at(at, 12)):
        magic = section.at(at, 4)
        if magic in _LAYOUTS:
            found, end = _walk(section, at, _LAYOUTS[magic])
        else:
            found, end = _stated(section, at, magic)
        if found.to_the_end:
            _check_alone(section, at)
        if found.mpeg:
            yield from mpeg.split(Section(section, found.samples), 0, max_seconds)
        else:
            yield Part(_with_true_size(section, at, end, found))
        at = end
    check_rest(section, at)


def _walk(section: Section, start: int, layout: _Layout) -> tuple[_Found, int]:
    """The samples of the file at `start`, and where it ends."""
    found, long_size, at = _Found(), (0, 0), start + layout.head
    for _ in range(MAX_CHUNKS):
        if found.size_at[0] and begins(section.at(at, 12)):
            return found, at
        header = section.at(at, layout.name + struct.calcsize(layout.size))
        body = at + len(header)
        if found.size_at[0] and not _is_chunk(header, layout):
            return found, at  # whatever it is, it is not of this file
        if body - at < layout.name + struct.calcsize(layout.size):
            raise undecodable("it ends before its samples.")
        name, size_at = header[:4], (at + layout.name, layout.size)
        length = struct.unpack(layout.size, header[layout.name :])[0] - (len(header) if layout.counts_itself else 0)
        if name == b"ds64":
            long_size = struct.unpack("<8xQ", section.at(body, 16))[0], body + 8
        elif name in (b"fmt ", b"COMM", b"desc"):
            found.mpeg = _codec(name, section.at(body, 64), layout.size[0])
        elif name in (b"data", b"SSND") and not found.size_at[0]:
            if long_size[1] and length == 0xFFFF_FFFF:
                length, size_at = long_size[0], (long_size[1], "<Q")
            found.size_at = size_at
            found.to_the_end = _is_no_promise(section, body, length, layout)
            length = section.size - body if found.to_the_end else length
            found.samples = body, body + length
            if body + length > section.size:
                raise cut_short(f"its header states {length} bytes of samples, it has {section.size - body}")
        elif found.size_at[0] and body + length > section.size:
            raise damaged(f"the chunk {name!r} after its samples ends behind the file")
        at = min(body + length + -length % layout.align, max(section.size, body + length))
        if found.size_at[0] and at >= section.size:
            return found, section.size
    raise InputError(f"the audio clip has more than {MAX_CHUNKS} chunks before its end; export it again")


def _is_chunk(header: bytes, layout: _Layout) -> bool:
    full = len(header) == layout.name + struct.calcsize(layout.size)
    return full and all(32 <= byte < 127 for byte in header[:4]) and header[:3] != b"TAG"


def _is_no_promise(section: Section, body: int, length: int, layout: _Layout) -> bool:
    """Whether a size says only that it was not known: beyond the file and large, or 0 with samples behind."""
    rest = section.size - body
    if length == 0:
        header = section.at(body, layout.name + struct.calcsize(layout.size))
        return rest > 0 and not _is_chunk(header, layout)
    return length > rest and length >= _NO_PROMISE


def _codec(name: bytes, body: bytes, order: str) -> bool:
    """Whether the samples are MP3. raises InputError for IMA ADPCM."""
    code = int.from_bytes(body[:2], "little" if order == "<" else "big") if name == b"fmt " else 0
    if code == 0x11 or b"ima4" in (body[18:22] if name == b"COMM" else body[8:12]):
        raise ima_adpcm()
    return code == 0x55


def ima_adpcm() -> InputError:
    """libsndfile's decoder of it writes outside its memory."""
    return InputError(
        "the audio clip is IMA ADPCM, which libsndfile decodes unsafely (CVE-2026-37555); "
        "convert it to PCM, FLAC or Opus"
    )


def _stated(section: Section, start: int, magic: bytes) -> tuple[_Found, int]:
    """AU and NIST: a header that states the size of what follows."""
    if magic == b".snd":
        header, length = struct.unpack(">II", section.at(start, 12)[4:].ljust(8, b"\0"))
        found = _Found((start + 8, ">I"))
    else:
        text = section.at(start, 1024).decode("latin-1").split("end_head")[0]
        words = [line.split() for line in text.splitlines()]
        fields = {line[0]: line[2] for line in words if len(line) >= 3 and line[1] == "-i" and line[2].isdigit()}
        header = int(words[1][0]) if len(words) > 1 and words[1] and words[1][0].isdigit() else 1024
        length = 1
        for name in ("sample_count", "channel_count", "sample_n_bytes"):
            length *= int(fields.get(name, "1")[:12])
        found = _Found()
    body = start + header
    if found.size_at[0] and body < section.size and (length == 0 or length >= _NO_PROMISE):
        found.to_the_end, length = body + length > section.size or length == 0, section.size - body
    if body + length > section.size:
        raise cut_short(f"its header states {length} bytes of samples, it has {max(0, section.size - body)}")
    found.samples = body, body + length
    return found, body + length


def _check_alone(section: Section, start: int) -> None:
    """raises  InputError when another file of the kind follows one that does not say where it ends."""
    head = section.at(start, 12)
    kind = head[8:12] if head[:4] in _KINDS else head[4:8]
    for at in islice(section.find_all(head[:4], start + 4), _MAX_MAGICS):
        if section.at(at + (8 if head[:4] in _KINDS else 4), 4) == kind:
            raise damaged(f"a second file begins at byte {at}, and the first does not say where it ends")


def _with_true_size(section: Section, start: int, end: int, found: _Found) -> Section:
    """The file from `start` to `end`, with the size of its samples written where it was unknown."""
    if not found.to_the_end:
        return Section(section, (start, end))
    at, form = found.size_at
    whole = found.samples[1] - found.samples[0]
    if form == "<Q" and section.at(start, 4) == b"riff":
        whole += 24  # the size of a W64 chunk counts its header
    size = struct.pack(form, whole)
    return Section(section, (start, at), size, (at + len(size), end))
