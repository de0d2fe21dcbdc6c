"""Audio files to blocks of samples: every sample that is there, or an InputError that says why not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy.typing as npt
import soundfile

from phi4mm.errors import InputError
from phi4mm.processing import audio_ffmpeg
from phi4mm.processing.containers import chunks, flac, matroska, mp4, mpeg, ogg
from phi4mm.processing.containers.part import (
    MAX_CLIPS,
    PADDING,
    Part,
    Sound,
    after_tags,
    check_length,
    cut_short,
    damaged,
    undecodable,
)
from phi4mm.processing.section import Section

FORMATS = ("AIFF", "AU", "CAF", "FLAC", "MP3", "NIST", "OGG", "RF64", "W64", "WAV")  # libsndfile's names
MEDIA_FORMATS = ("M4A", "MKV", "MOV", "MP2", "MP4", "WEBM")  # with PyAV
MAX_CHANNELS = 64
MIN_RATE, MAX_RATE = 4_000, 768_000  # Hz

_BLOCK = 65_536  # samples decoded at a time


def decode(file: BinaryIO, max_seconds: float) -> Iterator[tuple[int, int, npt.NDArray[Any]]]:
    """The samples of a file in blocks: (number of the clip within the file, its rate, (n, channels) floats).

    A file that is several files end to end has one clip for each.
    raises  InputError for what is no sound, damaged, cut short, or longer than `max_seconds` in all
    """
    before = 0.0  # seconds
    for number, part in enumerate(_parts(Section(file), max_seconds)):
        if number == MAX_CLIPS:
            raise damaged(f"it has more than {MAX_CLIPS} clips")
        sound = _open(part)
        expected, earlier, total = part.samples or sound.samples, round(before * sound.rate), 0
        check_length(earlier + expected, sound.rate, max_seconds)
        for block in sound.blocks:
            total += len(block)
            check_length(earlier + total, sound.rate, max_seconds)
            yield number, sound.rate, block
        if total == 0:
            raise InputError("the audio clip has no samples")
        if total < expected:
            raise cut_short(f"its header states {expected} samples, it has {total}")
        before += total / sound.rate


def seconds(file: BinaryIO, max_seconds: float) -> float:
    """How long a file says that it is; only where it does not say is it decoded. Raises InputError as `decode` does."""
    total = 0.0
    for part in _parts(Section(file), max_seconds):
        sound = _open(part)
        samples = part.samples or sound.samples or sum(map(len, sound.blocks))
        total += samples / sound.rate
        check_length(round(total * sound.rate), sound.rate, max_seconds)
    return total


def check_rate(rate: int) -> None:
    """raises  InputError for a rate that no sound has."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise InputError(f"the audio clip has {rate} samples per second; expected {MIN_RATE} to {MAX_RATE}")


def _parts(section: Section, max_seconds: float) -> Iterator[Part]:
    at = after_tags(section, 0)
    if at:  # some writers leave zeros between a tag and the sound
        lead = section.at(at, PADDING)
        at += len(lead) - len(lead.lstrip(b"\0"))
    head = section.at(at, 12)
    if chunks.begins(head):
        return chunks.split(section, at, max_seconds)
    if head[:4] == b"fLaC":
        return flac.split(section, at)
    if head[:4] == b"OggS":
        return ogg.split(section, at)
    if mpeg.parse_header(head[:4]):
        return mpeg.split(section, at, max_seconds)
    if mp4.begins(head):
        return mp4.split(section, at)
    if head[:4] == matroska.MAGIC:
        return matroska.split(section, at)
    raise undecodable("Format not recognised.")


def _open(part: Part) -> Sound:
    sound = _libsndfile(part.section) if part.demuxer is None else audio_ffmpeg.open_sound(part)
    check_rate(sound.rate)
    if not 1 <= sound.channels <= MAX_CHANNELS:
        raise InputError(f"the audio clip has {sound.channels} channels; expected 1 to {MAX_CHANNELS}")
    return sound


class _SoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """Without seeking, which soundfile does after every read: an MP3 decoder starts anew each time."""

    def seekable(self) -> bool:
        return False


def _libsndfile(section: Section) -> Sound:
    try:
        file = _SoundFile(section)
    except soundfile.LibsndfileError as error:
        raise _undecodable(error) from None
    if file.subtype == "IMA_ADPCM":
        raise chunks.ima_adpcm()
    return Sound(file.samplerate, file.channels, file.frames, _libsndfile_blocks(file))


def _libsndfile_blocks(file: soundfile.SoundFile) -> Iterator[npt.NDArray[Any]]:
    with file:
        try:
            while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
                yield block
        except soundfile.LibsndfileError as error:
            raise _undecodable(error) from None


def _undecodable(error: soundfile.LibsndfileError) -> InputError:
    # The exception's own text can hold an object's address; `error_string` is libsndfile's alone.
    return undecodable(error.error_string)
