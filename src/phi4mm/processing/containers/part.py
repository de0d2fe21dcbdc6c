"""A part of a file that one decoder reads from its first sample to its last, and what all containers refuse alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from phi4mm.errors import InputError
from phi4mm.processing.section import Section

PADDING = 4_096  # bytes of zeros that may follow the sound
MAX_TAGS = 100  # in one file
MAX_CLIPS = 1_000  # in one file


@dataclass(frozen=True)
class Part:
    """What one decoder is handed.

    samples  how many it must find, 0 where its own header says so
    demuxer  PyAV's name of the container, None for libsndfile
    """

    section: Section
    samples: int = 0
    demuxer: str | None = None


@dataclass(frozen=True)
class Sound:
    """An open decoder: what its header says, and what it yields.

    samples  as stated, 0 where nothing is
    blocks   (n, channels) floats
    """

    rate: int
    channels: int
    samples: int
    blocks: Iterator[npt.NDArray[Any]]


def cut_short(why: str) -> InputError:
    """For a file that states more than it holds."""
    return InputError(f"the audio clip is cut short: {why}; send the whole file")


def damaged(why: str) -> InputError:
    """For a file whose bytes contradict each other."""
    return InputError(f"the audio clip is damaged: {why}; send it again, or convert it to WAV or FLAC")


def undecodable(why: str) -> InputError:
    """For a file that no decoder here reads."""
    return InputError(
        f"the audio clip cannot be decoded: {why} Expected WAV, FLAC, OGG, Opus, MP3, AIFF, W64, CAF, AU, NIST, or "
        "M4A, MP4, MOV, WebM with the extra phi4mm[media]; convert it to one of them"
    )


def check_length(samples: int, rate: int, max_seconds: float) -> None:
    """raises  InputError for more than `max_seconds` of samples."""
    if samples > max_seconds * rate:
        raise InputError(
            f"the audio clip is longer than {max_seconds:g} seconds (at least {samples / rate:.1f}); cut it into pieces"
        )


def after_tags(section: Section, at: int) -> int:
    """Where what follows the tags at `at` begins: ID3v2, ID3v1, APEv2 and Lyrics3 hold no sound."""
    for _ in range(MAX_TAGS):
        head = section.at(at, 32)
        if head[:3] == b"ID3" and len(head) >= 10:
            size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
            at += 10 + size + 10 * (head[5] >> 4 & 1)
        elif head[:3] == b"TAG":
            at += 128
        elif head[:8] == b"APETAGEX" and len(head) == 32:
            at += int.from_bytes(head[12:16], "little") + 32 * (head[23] >> 5 & 1)
        elif head[:11] == b"LYRICSBEGIN" and (end := section.at(at, 2**20).find(b"LYRICS200")) > 0:
            at += end + 9
        else:
            return at
        if at > section.size:
            raise cut_short("it ends within a tag")
    raise damaged(f"it has more than {MAX_TAGS} tags in a row")


def check_rest(section: Section, at: int) -> None:
    """raises  InputError where anything but tags and a few zeros follows the sound, which ends at `at`."""
    at = after_tags(section, at)
    rest = section.at(at, PADDING + 1)
    if len(rest) > PADDING or rest.strip(b"\0"):
        raise damaged(f"{section.size - at} bytes that are no sound begin at byte {at}, where it should end")
