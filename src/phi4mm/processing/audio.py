"""Audio clips to log-mel frames: decode with libsndfile, resample to 16 kHz (8 kHz for narrow-band audio), log-mel.

Shape legend: F mel frames (10 ms), n audio samples; 80 mel bins.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from phi4mm.errors import InputError
from phi4mm.processing.media_io import open_source
from phi4mm.protocol.inputs import F32
from phi4mm.protocol.messages import Audio

MAX_ENCODED = 2**30  # bytes
MAX_SECONDS = 1800.0
MAX_AUDIOS = 64  # in one prompt
MAX_CHANNELS = 64
MIN_RATE, MAX_RATE = 4_000, 768_000  # Hz
MAX_LEVEL = 8.0  # full scale is 1; larger samples must be integers that were not scaled
WIDE, NARROW = 16_000, 8_000  # Hz, the two rates that log_mel accepts
MEL_BINS = 80

_BLOCK = 65_536  # samples decoded at a time
_FRAMES = 4_096  # mel frames computed at a time
_IMA_ADPCM = 0x11
_UNKNOWN_SIZE = (0, 0xFFFF_FFFF, 0x7FFF_FFFF)  # sizes in headers of writers that could not seek back


def open_audio(audio: Audio, *, max_seconds: float = MAX_SECONDS) -> tuple[F32, int]:
    """Decode an audio clip to (n,) float32 mono and its rate, 16000 or 8000 Hz.

    Files and bytes: all formats of libsndfile except IMA ADPCM, at most 1 GiB. Arrays: (n,) or (n, channels) of int16,
    int32 or floats in [-1, 1], with their rate. Channels are averaged; other rates are resampled (see `resample`).
    raises  InputError for anything else, and if the clip is damaged, cut short, empty, not finite or too long
    """
    source, rate = audio.source, audio.rate
    if isinstance(source, tuple) and len(source) == 2 and rate is None:
        source, rate = source
    if isinstance(source, np.ndarray):
        return resample(_from_array(source, rate, max_seconds), int(rate or 0))
    if rate is not None:
        raise InputError(
            f"rate {rate!r} was given with an audio file, which has its own; give a rate only with an array"
        )
    with open_source(source, "audio clip", MAX_ENCODED) as file:
        _check_container(file)
        file.seek(0)
        try:
            with soundfile.SoundFile(_Seekable(file)) as decoder:
                _check_header(decoder, max_seconds)
                return _at_model_rate(_blocks(decoder, max_seconds), decoder.samplerate)
        except soundfile.LibsndfileError as error:
            # The text of the exception can contain the address of an object; `error_string` does not.
            raise InputError(
                f"the audio clip cannot be decoded: {error.error_string} Expected WAV, FLAC, OGG, Opus, MP3, AIFF or "
                "another format of libsndfile; convert it to one of them"
            ) from None


def resample(samples: F32, rate: int) -> tuple[F32, int]:
    """Resample (n,) float32 mono to 16000 Hz, or to 8000 Hz if `rate` is at most 8000.

    The published code decimates by whole factors and treats the result as 16 or 8 kHz, which is wrong for most rates.
    This function resamples correctly, so for 44100 Hz and similar rates it differs from the published code on purpose.
    """
    return _at_model_rate([samples], rate)


def log_mel(samples: F32, rate: int) -> F32:
    """Compute the log-mel features of mono samples.

    samples  (n,) float32 in [-1, 1]; fewer than one window (25 ms) are padded with zeros
    rate     16000 or 8000 Hz
    returns  (F, 80) float32, one frame every 10 ms; silence is exactly 0
    raises   InputError for another rate
    """
    if rate not in (WIDE, NARROW):
        raise InputError(f"log_mel was given {rate} Hz; expected {WIDE} or {NARROW}, so resample first")
    window, hop, size = rate // 40, rate // 100, 512 * rate // WIDE
    if len(samples) < window:
        samples = np.pad(samples, (0, window - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]  # (F, window)
    bins = size // 2 + (rate == WIDE)  # at 8 kHz the published code has no Nyquist bin
    filters, taper = _mel_filters()[:bins], np.hamming(window)
    out = np.empty((len(frames), MEL_BINS), np.float32)
    for start in range(0, len(frames), _FRAMES):
        block = frames[start : start + _FRAMES]
        before = np.concatenate([block[:, :1], block[:, :-1]], axis=1)
        emphasised = (block - np.float32(0.97) * before) * np.float32(32768)
        spectrum = np.fft.rfft(taper * emphasised, size)[:, :bins].astype(np.complex64)
        power = np.square(np.abs(spectrum))
        out[start : start + _FRAMES] = np.log(np.maximum(power @ filters, np.float32(1)))
    return out


def mel_frames(samples: int, rate: int) -> int:
    """F, the frames that `log_mel` makes of so many samples."""
    return 1 + max(0, samples - rate // 40) // (rate // 100)


def audio_tokens(frames: int) -> int:
    """The number of placeholders of an audio clip of F mel frames: one for every 8 frames, rounded up."""
    return -(-frames // 8)


@functools.cache
def _mel_filters() -> F32:
    """(257, 80): triangular filters, linear on the mel scale, up to 7690 Hz."""
    mel = 1127 * np.log1p(np.arange(257) * WIDE / 512 / 700)  # (257,)
    centres = np.linspace(0, 1127 * np.log1p(7690 / 700), MEL_BINS + 2)
    filters = np.maximum(0, 1 - np.abs(centres[1:-1] - mel[:, None]) / centres[1])
    filters[0] = filters[246:] = 0
    table: F32 = filters.astype(np.float32)
    return table


class _Seekable:
    """A file for libsndfile, which may seek before the start of a damaged file and cannot handle exceptions."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.tell, self._seek = file.read, file.tell, file.seek

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError):
            return -1


def _at_model_rate(blocks: Iterable[F32], rate: int) -> tuple[F32, int]:
    target = NARROW if rate <= NARROW else WIDE
    if rate == target:
        return np.concatenate(list(blocks)), target
    stream = soxr.ResampleStream(rate, target, 1, dtype="float32", quality="HQ")
    parts = [stream.resample_chunk(block) for block in blocks]
    parts.append(stream.resample_chunk(np.empty(0, np.float32), last=True))
    return np.concatenate(parts), target


def _blocks(decoder: soundfile.SoundFile, max_seconds: float) -> Iterator[F32]:
    """Decode block by block, so that a false length in a header allocates nothing."""
    total = 0
    while len(block := decoder.read(_BLOCK, dtype="float32", always_2d=True)):
        total += len(block)
        _check_length(total, decoder.samplerate, max_seconds)
        yield _mono(block)
    if total == 0:
        raise InputError("the audio clip has no samples")
    # MP3 states its length in whole frames, so up to a tenth of a second may be missing at the end.
    if total < decoder.frames - decoder.samplerate // 10:
        raise InputError(
            f"the audio clip is cut short: its header states {decoder.frames} samples, it has {total}; "
            "send the whole file"
        )


def _mono(block: npt.NDArray[Any]) -> F32:
    """The mean of the channels: (n, channels) float to (n,) float32."""
    peak = np.abs(block).max(initial=0.0)
    if not np.isfinite(peak):
        raise InputError("the audio clip has samples that are NaN or infinite; export it again")
    if peak > MAX_LEVEL:
        raise InputError(f"the audio clip's samples reach {peak:g}; expected [-1, 1], so divide them by the full scale")
    mono: F32 = block.mean(axis=1, dtype=np.float32)
    return mono


def _from_array(array: npt.NDArray[Any], rate: object, max_seconds: float) -> F32:
    if not isinstance(rate, (int, np.integer)) or isinstance(rate, bool):
        raise InputError(f"an audio array has rate {rate!r}; expected its samples per second as a whole number")
    _check_rate(int(rate))
    if array.ndim not in (1, 2) or 0 in array.shape or (array.ndim == 2 and array.shape[1] > MAX_CHANNELS):
        raise InputError(
            f"an audio array has shape {array.shape}; expected (n,) or (n, channels) with at most {MAX_CHANNELS}"
        )
    _check_length(len(array), int(rate), max_seconds)
    if array.dtype in (np.int16, np.int32):
        array = array / np.float32(-float(np.iinfo(array.dtype).min))
    elif array.dtype.kind != "f":
        raise InputError(f"an audio array is {array.dtype}; expected int16, int32 or floats in [-1, 1]")
    return _mono(array.reshape(len(array), -1))


def _check_header(decoder: soundfile.SoundFile, max_seconds: float) -> None:
    if decoder.subtype == "IMA_ADPCM":
        raise _ima_adpcm()
    _check_rate(decoder.samplerate)
    if not 1 <= decoder.channels <= MAX_CHANNELS:
        raise InputError(f"the audio clip has {decoder.channels} channels; expected 1 to {MAX_CHANNELS}")
    _check_length(decoder.frames, decoder.samplerate, max_seconds)


def _check_rate(rate: int) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise InputError(f"the audio clip has {rate} samples per second; expected {MIN_RATE} to {MAX_RATE}")


def _check_length(samples: int, rate: int, max_seconds: float) -> None:
    if samples > max_seconds * rate:
        raise InputError(
            f"the audio clip is longer than {max_seconds:g} seconds (at least {samples / rate:.1f}); cut it into pieces"
        )


def _check_container(file: BinaryIO) -> None:
    """Refuse files that libsndfile decodes unsafely (IMA ADPCM) or shortens silently (incomplete WAV, AIFF, Ogg)."""
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(12)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"FORM"):
        _check_chunks(file, size, "<" if head[:4] in (b"RIFF", b"RF64") else ">")
    elif head[:4] == b"OggS":
        _check_last_page(file, size)


def _check_chunks(file: BinaryIO, size: int, order: str) -> None:
    ds64_length = 0  # bytes of samples as the ds64 chunk of RF64 states them
    for _ in range(1000):
        header = file.read(8)
        if len(header) < 8:
            return
        name, length = header[:4], struct.unpack(order + "I", header[4:])[0]
        start = file.tell()
        body = file.read(min(length, 64)) if name in (b"fmt ", b"COMM", b"ds64") else b""
        ima = body[:2] == struct.pack(order + "H", _IMA_ADPCM) if name == b"fmt " else body[18:22] == b"ima4"
        if ima:
            raise _ima_adpcm()
        if name == b"ds64" and len(body) >= 16:
            ds64_length = struct.unpack("<Q", body[8:16])[0]
        if name in (b"data", b"SSND"):
            stated = ds64_length or (0 if length in _UNKNOWN_SIZE else length)
            if start + stated > size:
                raise InputError(
                    f"the audio clip is cut short: its header states {stated} bytes of samples, "
                    f"it has {size - start}; send the whole file"
                )
            return
        file.seek(start + length + length % 2)
    raise InputError("the audio clip has more than 1000 chunks before its samples; export it again")


def _check_last_page(file: BinaryIO, size: int) -> None:
    start = max(0, size - 2**17)  # an Ogg page has at most 65,307 bytes
    file.seek(start)
    tail = file.read()
    page = tail.rfind(b"OggS")
    segments = tail[page + 27 : page + 27 + tail[page + 26]] if 0 <= page < len(tail) - 26 else b""
    if not segments or page + 27 + len(segments) + sum(segments) > len(tail):
        raise InputError("the audio clip is cut short: its last Ogg page is incomplete; send the whole file")


def _ima_adpcm() -> InputError:
    return InputError(
        "the audio clip is IMA ADPCM, which libsndfile decodes unsafely (CVE-2026-37555); "
        "convert it to PCM, FLAC or Opus"
    )
