"""MPEG audio (MP3, MP2): a walk over the frame headers counts the samples that are there.

libsndfile takes the length from the first frame that states one, else from an average, and stops there. So every clip
is handed to it behind a frame that states what the walk found.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field

from phi4mm.processing.containers.part import (
    Part,
    after_tags,
    check_length,
    check_rest,
    cut_short,
    damaged,
    undecodable,
)
from phi4mm.processing.section import Section

_KBITS = {  # by (MPEG-1, layer); index 0 is the free format, 15 is forbidden
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
# Without a tag libsndfile takes an MP3 for another format where the working folder has a file named `._`.
_EMPTY_ID3 = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
_HEAD = 200  # bytes of a frame that may state something
_DECODER_DELAY = 529  # samples that every layer III decoder is late; they come before the sound and are left out


@dataclass(frozen=True)
class Header:
    """The four bytes in front of a frame."""

    bits: int
    layer: int
    rate: int  # Hz
    samples: int  # in this frame
    length: int  # bytes, the header included

    @property
    def kind(self) -> tuple[int, int, bool]:
        """What stays the same within a clip: version and layer, rate, mono or not."""
        return self.bits >> 17 & 0xF, self.rate, self.bits >> 6 & 3 == 3

    @property
    def side(self) -> int:
        """Bytes of layer III's side information."""
        return {(True, True): 17, (True, False): 32, (False, True): 9, (False, False): 17}[self.mpeg1, self.kind[2]]

    @property
    def mpeg1(self) -> bool:
        """Not one of the half and quarter rates of MPEG-2 and 2.5."""
        return self.bits >> 19 & 3 == 3


@dataclass
class _Clip:
    header: Header
    ranges: list[tuple[int, int]] = field(default_factory=list)
    frames: int = 0
    stated: int = 0  # frames, from the information frame
    stated_bytes: int = 0
    trimmed: tuple[int, int] | None = None  # samples that the encoder added in front and behind


@functools.lru_cache(1024)
def parse_header(data: bytes) -> Header | None:
    """The header of a frame, or None where these bytes are none, or of the free format."""
    bits = int.from_bytes(data[:4], "big")
    version, layer = bits >> 19 & 3, 4 - (bits >> 17 & 3)
    bitrate, rate = bits >> 12 & 15, bits >> 10 & 3
    if len(data) < 4 or bits >> 21 != 0x7FF or version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return None
    mpeg1 = version == 3
    hertz = (44_100, 48_000, 32_000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
    samples = {1: 384, 2: 1152, 3: 1152 if mpeg1 else 576}[layer]
    slot = 4 if layer == 1 else 1  # bytes
    slots = samples * _KBITS[mpeg1, layer][bitrate] * 125 // (hertz * slot) + (bits >> 9 & 1)
    return Header(bits, layer, hertz, samples, slots * slot)


def split(section: Section, start: int, max_seconds: float) -> Iterator[Part]:
    """One part for each clip: a new one begins at an information frame, or where rate or channels change.

    raises  InputError when a frame is missing or incomplete, for bytes between frames, and for the free format
    """
    clip: _Clip | None = None
    at, total = start, 0.0
    while at < section.size:
        head = section.at(at, _HEAD)
        header = parse_header(head[:4])
        if header is None:
            after = after_tags(section, at)
            if after == at:
                break
            at = after
            continue
        if at + header.length > section.size:
            raise cut_short(f"its last frame needs {header.length} bytes, {section.size - at} are there")
        information = _information(head, header)
        if clip is None or information or header.kind != clip.header.kind:
            if clip:
                yield _part(section, clip)
            clip = information or _Clip(header)
        if not information:
            clip.frames += 1
            total += header.samples / header.rate
            check_length(round(total * header.rate), header.rate, max_seconds)
            begins = clip.ranges.pop()[0] if clip.ranges and clip.ranges[-1][1] == at else at
            clip.ranges.append((begins, at + header.length))
        at += header.length
    if clip is None:
        raise undecodable("no MPEG frame of a stated bit rate begins it.")
    if at < section.size:
        check_rest(section, at)
    yield _part(section, clip)


def _information(frame: bytes, header: Header) -> _Clip | None:
    """What an information frame (Xing, Info or VBRI) states, None for a frame of sound."""
    if header.layer != 3:
        return None
    frame = frame[: header.length]
    for crc in (0, 2):
        place = 4 + header.side + crc
        if frame[place : place + 4] in (b"Xing", b"Info"):
            return _xing(frame[place:], header)
    if frame[36:40] == b"VBRI":
        return _Clip(
            header, stated_bytes=int.from_bytes(frame[46:50], "big"), stated=int.from_bytes(frame[50:54], "big")
        )
    return None


def _xing(tag: bytes, header: Header) -> _Clip:
    flags, at = int.from_bytes(tag[4:8], "big"), 8
    values = []
    for flag, size in ((1, 4), (2, 4), (4, 100), (8, 4)):
        values.append(int.from_bytes(tag[at : at + 4], "big") if flags & flag else 0)
        at += size if flags & flag else 0
    encoder, trim = tag[at : at + 4], int.from_bytes(tag[at + 21 : at + 24], "big")
    known = encoder[:1] == b"L" and len(tag) >= at + 24  # LAME, Lavf, Lavc, L3.9
    return _Clip(
        header, stated=values[0], stated_bytes=values[1], trimmed=(trim >> 12, trim & 0xFFF) if known else None
    )


def _part(section: Section, clip: _Clip) -> Part:
    size = sum(end - begin for begin, end in clip.ranges)
    # Some encoders count the information frame too; then the bytes are all there.
    counted_too = clip.frames == clip.stated - 1 and 0 < clip.stated_bytes <= size + clip.header.length
    if clip.frames < clip.stated and not counted_too:
        raise cut_short(f"it states {clip.stated} frames, {clip.frames} are there")
    if not clip.frames:
        raise damaged("it holds no frame of sound")
    samples = clip.frames * clip.header.samples
    if clip.header.layer != 3:
        return Part(Section(section, *clip.ranges), samples, "mp3")
    front, behind = clip.trimmed or (0, 0)
    if clip.frames > clip.stated:  # what was added behind is not at this end
        behind = 0
    if front + behind + _DECODER_DELAY >= samples:
        front = behind = 0
    samples -= front + max(behind, _DECODER_DELAY)
    first = _information_frame(clip.header, clip.frames, size, front, behind)
    return Part(Section(section, _EMPTY_ID3 + first, *clip.ranges), samples)


def _information_frame(header: Header, frames: int, size: int, front: int, behind: int) -> bytes:
    """A silent frame at the highest bit rate, without checksum, that states the frames behind it."""
    bits = header.bits & ~(0xF << 12 | 1 << 9) | 14 << 12 | 1 << 16
    first = bits.to_bytes(4, "big")
    length = header.samples * _KBITS[header.mpeg1, 3][14] * 125 // header.rate
    tag = b"Xing" + (3).to_bytes(4, "big") + frames.to_bytes(4, "big") + (size + length).to_bytes(4, "big")
    tag += b"LAME3.100" + bytes(12) + (front << 12 | behind).to_bytes(3, "big")
    return (first + bytes(header.side) + tag).ljust(length, b"\0")
