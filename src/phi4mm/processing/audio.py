"""Audio clips to log-mel frames: at 16 kHz, or at 8 kHz where the audio clip is narrow-band.

Shape legend: F mel frames (10 ms), n audio samples; 80 mel bins.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from phi4mm.errors import InputError
from phi4mm.processing.audio_file import MAX_CHANNELS, check_rate, decode
from phi4mm.processing.containers.part import check_length
from phi4mm.processing.media_io import open_source
from phi4mm.protocol.inputs import F32
from phi4mm.protocol.messages import Audio

MAX_ENCODED = 2**30  # bytes
MAX_SECONDS = 1800.0
MAX_AUDIOS = 64  # in one prompt
MAX_LEVEL = 8.0  # full scale is 1; beyond this the samples are integers that were never scaled
WIDE, NARROW = 16_000, 8_000  # Hz, the two rates that log_mel takes
MEL_BINS = 80

_FRAMES = 4_096  # mel frames computed at a time


def open_audio(audio: Audio, *, max_seconds: float = MAX_SECONDS) -> tuple[F32, int]:
    """Decode an audio clip to (n,) float32 mono and its rate, 16000 or 8000 Hz.

    Files and bytes, at most 1 GiB: WAV, RF64, W64, AIFF, AU, CAF, NIST, FLAC, Ogg Vorbis and Opus, MP3, in all codecs
    of libsndfile except IMA ADPCM; M4A, MP4, MOV, WebM, Matroska and MP2 with the extra `media`. Files of one format
    end to end are one audio clip. Arrays: (n,) or (n, channels) of int16, int32 or floats in [-1, 1], with their rate.
    Channels are averaged; other rates are resampled (see `resample`).
    raises  InputError for anything else: damaged, cut short, empty, not finite, or longer than `max_seconds`
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
        clips = [
            _at_model_rate((_mono(block) for _, _, block in blocks), rate)
            for (_, rate), blocks in itertools.groupby(decode(file, max_seconds), key=lambda found: found[:2])
        ]
    target = max(rate for _, rate in clips)
    same = [samples if rate == target else _soxr([samples], rate, target) for samples, rate in clips]
    return np.concatenate(same), target


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


def _at_model_rate(blocks: Iterable[F32], rate: int) -> tuple[F32, int]:
    target = NARROW if rate <= NARROW else WIDE
    if rate == target:
        return np.concatenate(list(blocks)), target
    return _soxr(blocks, rate, target), target


def _soxr(blocks: Iterable[F32], rate: int, target: int) -> F32:
    stream = soxr.ResampleStream(rate, target, 1, dtype="float32", quality="HQ")
    parts = [stream.resample_chunk(block) for block in blocks]
    parts.append(stream.resample_chunk(np.empty(0, np.float32), last=True))
    return np.concatenate(parts)


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
    check_rate(int(rate))
    if array.ndim not in (1, 2) or 0 in array.shape or (array.ndim == 2 and array.shape[1] > MAX_CHANNELS):
        raise InputError(
            f"an audio array has shape {array.shape}; expected (n,) or (n, channels) with at most {MAX_CHANNELS}"
        )
    check_length(len(array), int(rate), max_seconds)
    if array.dtype in (np.int16, np.int32):
        array = array / np.float32(-float(np.iinfo(array.dtype).min))
    elif array.dtype.kind != "f":
        raise InputError(f"an audio array is {array.dtype}; expected int16, int32 or floats in [-1, 1]")
    return _mono(array.reshape(len(array), -1))
