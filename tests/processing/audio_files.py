"""Audio files of every container and codec that libsndfile, PyAV and LAME write here, with what they must decode to."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from phi4mm.processing.audio_file import FORMATS, decode

F32 = npt.NDArray[np.float32]
IMA = "IMA_ADPCM"  # refused
# Names of PyAV: container, codec, rate.
MEDIA = (
    *(("mp4", "aac", 48_000), ("ipod", "aac", 22_050), ("mov", "aac", 44_100), ("mov", "pcm_s16le", 48_000)),
    *(("mov", "alac", 44_100), ("mp4", "alac", 44_100), ("mp4", "libmp3lame", 44_100), ("mp4", "flac", 48_000)),
    *(("mp4", "libopus", 48_000), ("webm", "libopus", 48_000), ("matroska", "pcm_s16le", 48_000)),
    *(("matroska", "flac", 48_000), ("matroska", "aac", 48_000), ("matroska", "libmp3lame", 44_100)),
    *(("mp2", "mp2", 44_100), ("mp2", "mp2", 16_000)),
    # These libsndfile reads, of another writer.
    *(("mp3", "libmp3lame", 44_100), ("mp3", "libmp3lame", 8_000), ("ogg", "libopus", 48_000)),
    *(
        ("ogg", "flac", 48_000),
        ("caf", "pcm_s16be", 44_100),
        ("aiff", "pcm_s24be", 44_100),
        ("au", "pcm_s16be", 44_100),
    ),
    *(("w64", "pcm_s16le", 44_100), ("wav", "pcm_s24le", 44_100), ("wav", "adpcm_ms", 44_100)),
    *(("wav", "libmp3lame", 44_100), ("flac", "flac", 44_100)),
)

UNPIPED = ("mp4", "ipod", "mov")  # FFmpeg writes them where it can seek, or in fragments
PIPED_FOR_OTHERS = ("aiff", "w64")  # FFmpeg itself does not read what it writes to a pipe


@dataclass(frozen=True)
class File:
    """An audio file and what an independent decoder finds in it, (n,) samples; None where there is no other.

    piped  the same as its writer makes it where it cannot seek back, and what the decoder finds in that
    """

    name: str
    data: bytes
    reference: F32 | None = None
    piped: tuple[bytes, F32] | None = None


class Pipe:
    """Where a writer cannot seek."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def getvalue(self) -> bytes:
        return b"".join(self._parts)


class Unseeking(soundfile.SoundFile):  # type: ignore[misc]
    """libsndfile alone, without the seek after a read, which some of its formats cannot do."""

    def seekable(self) -> bool:
        return False


def sound(count: int = 30_000, rate: int = 16_000) -> F32:
    """A rising tone whose loudness swells, so that no two blocks are alike."""
    t = np.arange(count) / rate
    tone = np.sin(2 * np.pi * (180 * t + 300 * t**2)) * (0.3 + 0.2 * np.sin(2 * np.pi * 3 * t))
    return tone.astype(np.float32)


def with_libsndfile(samples: F32, rate: int, format: str, subtype: str | None = None) -> bytes:
    """The samples written by libsndfile."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


def with_lame(samples: F32, rate: int, kbits: int = 64) -> bytes:
    """A plain MP3 of one bit rate: no tag, no information frame."""
    lameenc = pytest.importorskip("lameenc", reason="lameenc is not installed")
    encoder = lameenc.Encoder()
    encoder.set_bit_rate(kbits)
    encoder.set_in_sample_rate(rate)
    encoder.set_channels(1)
    encoder.silence()
    return bytes(encoder.encode((samples * 32_767).astype("<i2").tobytes()) + encoder.flush())


def with_pyav(
    samples: F32, container: str, codec: str, rate: int, file: io.BytesIO | Pipe | None = None, **options: str
) -> bytes:
    """The samples, taken at `rate`, written by FFmpeg."""
    av: Any = pytest.importorskip("av", reason="PyAV is not installed")
    file = file or io.BytesIO()
    with av.open(file, "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        stream.format = stream.codec_context.codec.audio_formats[0]
        frame = av.AudioFrame.from_ndarray((samples[None] * 32_767).astype(np.int16), "s16", "mono")
        frame.rate = rate
        queue = av.AudioFifo()
        for piece in av.AudioResampler(stream.format, "mono", rate).resample(frame):
            queue.write(piece)
        # An encoder takes frames of its own size only, and learns that when it is opened.
        stream.codec_context.open()
        at = 0
        while block := queue.read(stream.codec_context.frame_size or 1024, partial=True):
            block.pts, block.rate = at, rate
            at += block.samples
            output.mux(stream.encode(block))
        output.mux(stream.encode(None))
    return file.getvalue()


def of_libsndfile() -> Iterator[File]:
    """Every format and subtype that libsndfile writes and phi4mm reads."""
    for format in (*FORMATS, "WAVEX"):
        for subtype in soundfile.available_subtypes(format):
            rate = 8_000 if subtype == "GSM610" else 16_000
            try:
                data = with_libsndfile(sound(), rate, format, subtype)
            except soundfile.LibsndfileError:
                continue  # a subtype that is only read
            yield File(f"{format} {subtype}", data, Unseeking(io.BytesIO(data)).read(2**20, "float32"))


def of_pyav() -> Iterator[File]:
    """Every container and codec of MEDIA; FFmpeg is the reference where libsndfile decodes."""
    for container, codec, rate in MEDIA:
        data = with_pyav(sound(), container, codec, rate)
        reference, piped = ffmpeg(data), None
        if container not in UNPIPED:
            written = with_pyav(sound(), container, codec, rate, Pipe())
            piped = written, reference if container in PIPED_FOR_OTHERS else ffmpeg(written)
        yield File(f"{container} {codec} {rate}", data, reference, piped)


def ffmpeg(data: bytes) -> F32:
    """The mean of the channels, (n,), as FFmpeg decodes the first audio track."""
    av: Any = pytest.importorskip("av", reason="PyAV is not installed")
    blocks = []
    with av.open(io.BytesIO(data)) as container:
        resampler = av.AudioResampler("fltp", "mono")
        for frame in container.decode(audio=0):
            blocks += [block.to_ndarray()[0] for block in resampler.resample(frame)]
    return np.concatenate(blocks)


def decoded(data: bytes) -> F32:
    """What phi4mm decodes, (n,), at the rate of the file."""
    return np.concatenate([block.mean(axis=1) for _, _, block in decode(io.BytesIO(data), 1800.0)])


def with_pipe_header(name: str, data: bytes) -> Iterator[bytes]:
    """The file as programs write it that cannot seek back to state its length."""
    if name.startswith(("WAV ", "WAVEX ")) and IMA not in name:
        at = data.index(b"data") + 4
        size = struct.unpack("<I", data[at : at + 4])[0]
        for stated in (0, 0x7FFF_F000, 0x7FFF_FF00, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFDB, 0xFFFF_FFFF):
            yield data[:at] + struct.pack("<I", stated) + data[at + 4 : at + 4 + size]
    elif name.startswith("AU "):
        yield data[:8] + b"\xff\xff\xff\xff" + data[12:]
    elif name.startswith("FLAC "):
        yield data[:21] + bytes([data[21] & 0xF0]) + bytes(4) + data[26:]


def wrong(file: File, cuts: int = 8) -> list[str]:
    """What is wrong with this file, cut, joined or of unknown length: samples that are lost, added or changed."""
    found = []
    whole = outcome(file.data)
    if isinstance(whole, str):
        return [] if IMA in file.name else [f"{file.name}: {whole}"]
    if file.reference is not None and not alike(whole, file.reference):
        found.append(f"{file.name}: {len(whole)} samples, {len(file.reference)} by another decoder")
    for piped in with_pipe_header(file.name, file.data):
        got = outcome(piped)
        if isinstance(got, str) or len(got) != len(whole) or not np.array_equal(got, whole):
            found.append(f"{file.name} to a pipe: {got if isinstance(got, str) else len(got)}")
    if file.piped is not None:
        got = outcome(file.piped[0])
        if not isinstance(got, str) and not (len(got) >= len(sound()) and alike(got, file.piped[1])):
            found.append(f"{file.name} to a pipe: {len(got)} samples, {len(file.piped[1])} by another decoder")
    joined = outcome(file.data * 2)
    if not isinstance(joined, str) and not alike(joined, np.concatenate([whole, whole])):
        found.append(f"{file.name} twice: {len(joined)} samples instead of {2 * len(whole)}")
    for at in [len(file.data) - 2, *np.linspace(13, len(file.data) - 9, cuts, dtype=int)]:
        if file.name.startswith("mp2") and file.data[at : at + 2] == file.data[:2]:
            continue  # between two frames, and MP2 states no length
        cut = outcome(file.data[:at])
        if not isinstance(cut, str) and len(cut) < len(whole):
            found.append(f"{file.name} cut at {at} of {len(file.data)}: {len(cut)} of {len(whole)} samples")
    return found


def outcome(data: bytes) -> F32 | str:
    """The samples, or the words of the refusal."""
    from phi4mm.errors import InputError

    try:
        return decoded(data)
    except InputError as error:
        return str(error)


def alike(ours: F32, theirs: F32) -> bool:
    """Equal but for rounding, and for the decoder's delay of layer III that one of them may leave out."""
    delay = max(0, len(theirs) - len(ours))
    return delay in (0, 529) and np.abs(ours - theirs[delay : delay + len(ours)]).max(initial=0) < 2e-3
