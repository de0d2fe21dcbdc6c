"""Audio clips that a serious server must survive: damaged, extreme, forged, unusual and foreign ones."""

from __future__ import annotations

import functools
import random
import struct
from collections.abc import Iterator
from functools import partial

import numpy as np

from tests.processing.audio_files import sound, with_libsndfile, with_pyav
from tests.server.corpus.case import Case

RATES = (4_000, 7_999, 11_025, 44_100, 48_000, 96_000, 192_000, 655_350)
SECOND = sound(16_000)


def wav(
    data: bytes,
    *,
    rate: int = 16_000,
    channels: int = 1,
    bits: int = 16,
    kind: int = 1,
    riff: int | None = None,
    size: int | None = None,
) -> bytes:
    """A WAV whose header says anything; `riff` and `size` are the lengths that it states."""
    frame = channels * bits // 8
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, kind, channels, rate, rate * frame % 2**32, frame, bits)
    body = b"WAVE" + head + struct.pack("<4sI", b"data", len(data) if size is None else size) + data
    return struct.pack("<4sI", b"RIFF", (len(body) if riff is None else riff) & 0xFFFF_FFFF) + body


def pcm(samples: int) -> bytes:
    """Samples of 16 bits."""
    return (np.resize(SECOND, samples) * 20_000).astype("<i2").tobytes()


def floats(value: float) -> bytes:
    """Samples of floats, one of them odd."""
    samples = SECOND.copy()
    samples[7] = value
    return wav(samples.tobytes(), bits=32, kind=3)


def flac(total: int) -> bytes:
    """A FLAC that states another number of samples than it has."""
    data = bytearray(with_libsndfile(SECOND, 16_000, "FLAC"))
    data[21] = data[21] & 0xF0 | total >> 32
    data[22:26] = (total & 0xFFFF_FFFF).to_bytes(4, "big")
    return bytes(data)


def opus(hours: int) -> bytes:
    """A minute of silence, which takes next to nothing in Opus, whose last page says that hours have passed."""
    data = bytearray(with_libsndfile(np.zeros(16_000 * 60, np.float32), 16_000, "OGG", "OPUS"))
    at = data.rindex(b"OggS")
    data[at + 6 : at + 14] = struct.pack("<q", 48_000 * 3600 * hours)
    data[at + 22 : at + 26] = bytes(4)
    value = 0
    for byte in data[at:]:
        value ^= byte << 24
        for _ in range(8):
            value = value << 1 ^ (0x1_04C1_1DB7 if value >> 31 else 0)
    data[at + 22 : at + 26] = struct.pack("<I", value)
    return bytes(data)


def rf64(stated: int) -> bytes:
    """An RF64 of a second that states another size of its samples."""
    data = bytearray(with_libsndfile(SECOND, 16_000, "RF64"))
    at = data.index(b"ds64") + 8
    data[at : at + 24] = struct.pack("<QQQ", stated + 100, stated, stated // 2)
    return bytes(data)


def w64(stated: int) -> bytes:
    """A W64 of a second that states another size of its samples."""
    data = bytearray(with_libsndfile(SECOND, 16_000, "W64"))
    at = data.index(b"data\xf3\xac\xd3\x11") + 16
    data[at : at + 8] = struct.pack("<Q", stated)
    return bytes(data)


def mp3(cover: int) -> bytes:
    """An MP3 behind a tag with a cover of so many bytes."""
    body = b"APIC" + struct.pack(">IH", cover, 0) + bytes(cover)
    size = bytes(len(body) >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + size + body + with_libsndfile(SECOND, 16_000, "MP3")


@functools.cache
def mp4() -> bytes:
    """An MP4 with AAC."""
    return with_pyav(SECOND, "mp4", "aac", 16_000)


def encrypted() -> bytes:
    """An MP4 whose sound is encrypted."""
    data = mp4().replace(b"mp4a", b"enca")
    at = data.index(b"mdat") + 4
    return data[:at] + random.Random(0).randbytes(4_000) + data[at + 4_000 :]


def cases() -> Iterator[Case]:
    """All of them."""
    yield Case("empty", bytes, r"is empty \(0 bytes\)")
    yield Case("header only", lambda: wav(b""), "has no samples")
    yield Case("signature only", lambda: b"RIFF\0\0\0\0WAVE", "it ends before its samples")
    yield from (Case(f"{n} samples", partial(wav, pcm(n))) for n in (1, 399, 400, 401))
    yield Case("10 minutes of silence", lambda: wav(bytes([128]) * 8_000 * 600, rate=8_000, bits=8))
    yield Case("clipped noise", lambda: wav(b"\xff\x7f\x00\x80" * 9_000))
    yield from (Case(f"a sample of {v}", partial(floats, v), "NaN or infinite") for v in (np.nan, np.inf, -np.inf))
    yield Case("a sample of 1e30", lambda: floats(1e30), r"samples reach 1e\+30")
    for kind in ("PCM_U8", "PCM_24", "ALAW", "ULAW", "MS_ADPCM"):
        yield Case(kind, partial(with_libsndfile, SECOND, 16_000, "WAV", kind))
    yield Case("IMA_ADPCM", lambda: with_libsndfile(SECOND, 16_000, "WAV", "IMA_ADPCM"), "IMA ADPCM")
    yield from (Case(f"{rate} Hz", partial(wav, pcm(9_000), rate=rate)) for rate in RATES)
    yield from (
        Case(f"{rate} Hz", partial(wav, pcm(9_000), rate=rate), "expected 4000|cannot be decoded")
        for rate in (1, 2**32 - 1)
    )
    yield Case("0 Hz", lambda: wav(pcm(9_000), rate=0), "cannot be decoded")
    yield Case("0 channels", lambda: wav(pcm(9_000), channels=0), "Channel count is zero")
    yield from (Case(f"{n} channels", partial(wav, pcm(9_000 * 64), channels=n)) for n in (8, 64))
    yield Case("65 channels", lambda: wav(pcm(65 * 900), channels=65), "has 65 channels")
    yield Case(
        "8 channels of FLAC at 655,350 Hz", lambda: with_libsndfile(np.tile(SECOND[:, None], 8), 655_350, "FLAC")
    )
    yield Case("RIFF says more", lambda: wav(pcm(9_000), riff=10**9))
    yield Case("RIFF says 0", lambda: wav(pcm(9_000), riff=0))
    yield Case("RIFF says -1", lambda: wav(pcm(9_000), riff=-1))
    yield Case("data says more", lambda: wav(pcm(9_000), size=10**9), "cut short: its header states 1000000000 bytes")
    # As programs write it that cannot seek back to state the size.
    yield Case("RF64 of 5 GB", lambda: rf64(5 * 10**9))
    yield Case("W64 of 5 GB", lambda: w64(5 * 10**9))
    yield Case("RF64 of 1 GB", lambda: rf64(10**9), "cut short: its header states 1000000000 bytes")
    yield Case("W64 of 1 GB", lambda: w64(10**9), "cut short: its header states 999999976 bytes")
    yield Case("no data chunk", lambda: wav(pcm(9_000)).replace(b"data", b"junk"), "it ends before its samples")
    yield Case("hours of Opus", lambda: opus(8), r"longer than 1800 seconds \(at least 28800")
    yield Case("FLAC that says 2^36 - 1", lambda: flac(2**36 - 1), "longer than 1800 seconds")
    yield Case("FLAC that says 1", lambda: flac(1), "its header states 1 samples, its frames go on to 16000")
    yield Case("art of 20 MB", lambda: mp3(20_000_000))
    yield Case("art of 100 MB", lambda: mp3(100_000_000), "has 1000[0-9]+ bytes; at most", 413)
    yield Case("MP4 without sound", lambda: mp4().replace(b"soun", b"vide"), "with 0 audio tracks")
    yield Case("encrypted MP4", encrypted, "cannot be decoded")
    yield Case("MP4 cut in the middle", lambda: mp4()[: len(mp4()) // 2], "cut short")
    yield Case("another rate midway", lambda: wav(pcm(9_000)) + wav(pcm(9_000), rate=44_100))
    yield Case(
        "3 hours",
        lambda: wav(bytes([128]) * 4_000 * 3 * 3600, rate=4_000, bits=8),
        r"longer than 1800 seconds \(at least 10800",
    )
    yield Case("upload cut", lambda: wav(pcm(9_000))[:-3_000], "cut short")
    yield Case("an image", lambda: b"\x89PNG\r\n\x1a\n" + bytes(900), "Format not recognised")
    yield Case("a playlist", lambda: b"#EXTM3U\nfile:///etc/passwd\n", "Format not recognised")
    yield Case("an MP4 that refers to a file", lambda: mp4().replace(b"url ", b"alis"))
