"""Audio clips to log-mel frames. The sound is at 16 kHz, or at 8 kHz where it is narrow-band (resampling.py).

Shape legend: F mel frames (10 ms), n audio samples; 80 mel bins.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from phi4mm.config.validate import shown
from phi4mm.errors import InputError
from phi4mm.processing.audio_file import MAX_CHANNELS, check_rate, decode
from phi4mm.processing.containers.part import check_length
from phi4mm.processing.media_io import as_array, open_source
from phi4mm.processing.resampling import NARROW, WIDE, convert, to_model_rate
from phi4mm.protocol.inputs import F32
from phi4mm.protocol.messages import Audio

MAX_ENCODED = 2**30  # bytes
MAX_SECONDS = 1800.0
MAX_AUDIOS = 64  # in one prompt
MAX_LEVEL = 8.0  # full scale is 1; beyond this the samples are integers that were never scaled
MEL_BINS = 80

_FRAMES = 4_096  # mel frames computed at a time
_BLOCK = 65_536  # samples of an array converted at a time


def open_audio(audio: Audio, *, max_seconds: float = MAX_SECONDS) -> tuple[F32, int]:
    """Decode an audio clip to (n,) float32 mono and its rate, 16000 or 8000 Hz.

    Files and bytes, at most 1 GiB: WAV, RF64, W64, AIFF, AU, CAF, NIST, FLAC, Ogg Vorbis and Opus, MP3, in all codecs
    of libsndfile except IMA ADPCM; M4A, MP4, MOV, WebM, Matroska and MP2 with the extra `media`. Files of one format
    end to end are one audio clip. Arrays, torch tensors and lists, with their rate: (n,), (n, channels), or (channels,
    n) where n is above 64; int16, int32 or floats in [-1, 1]; or {"array": ..., "sampling_rate": ...}. Channels are
    averaged, other rates resampled.
    raises  InputError for anything else: damaged, cut short, empty, not finite, or longer than `max_seconds`
    """
    source, rate = audio.source, audio.rate
    if isinstance(source, tuple) and len(source) == 2 and rate is None:
        source, rate = source
    if isinstance(source, Mapping) and rate is None and {"array", "sampling_rate"} <= source.keys():
        source, rate = source["array"], source["sampling_rate"]
    source = _of_list(source) if isinstance(source, list) else as_array(source)
    if isinstance(source, np.ndarray):
        whole = _whole_rate(rate)
        return to_model_rate(_from_array(source, whole, max_seconds), whole)
    if rate is not None:
        raise InputError(
            f"rate {shown(rate)} was given with {_what(source)}; give a rate only with samples, as in (samples, rate)"
        )
    with open_source(source, "audio clip", MAX_ENCODED) as file:
        clips = [
            to_model_rate((_mono(block) for _, _, block in blocks), rate)
            for (_, rate), blocks in itertools.groupby(decode(file, max_seconds), key=lambda found: found[:2])
        ]
    target = max(rate for _, rate in clips)
    same = [samples if rate == target else convert([samples], rate, target) for samples, rate in clips]
    return np.concatenate(same), target


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


def _mono(block: npt.NDArray[Any]) -> F32:
    """The mean of the channels: (n, channels) float to (n,) float32."""
    peak = np.abs(block).max(initial=0.0)
    if not np.isfinite(peak):
        raise InputError("the audio clip has samples that are NaN or infinite; export it again")
    if peak > MAX_LEVEL:
        raise InputError(f"the audio clip's samples reach {peak:g}; expected [-1, 1], so divide them by the full scale")
    mono: F32 = block.mean(axis=1, dtype=np.float32)
    return mono


def _what(source: object) -> str:
    file = isinstance(source, (str, bytes, os.PathLike)) or hasattr(source, "read")
    return "an audio file, which has its own" if file else f"a {type(source).__name__}"


def _of_list(samples: list[Any]) -> npt.NDArray[Any]:
    try:
        return np.asarray(samples, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"a list of samples is no array of numbers: {error!s:.80}") from None


def _whole_rate(rate: object) -> int:
    if isinstance(rate, bool) or not isinstance(rate, (int, float, np.integer, np.floating)) or rate % 1:
        raise InputError(f"an audio array has rate {shown(rate)}; expected its samples per second as a whole number")
    check_rate(int(rate))
    return int(rate)


def _from_array(array: npt.NDArray[Any], rate: int, max_seconds: float) -> Iterator[F32]:
    """(n,) float32 mono in blocks: a whole copy could be many times as large as the array."""
    if array.ndim == 2 and len(array) <= MAX_CHANNELS < array.shape[1]:
        array = array.T
    if array.ndim not in (1, 2) or 0 in array.shape or (array.ndim == 2 and array.shape[1] > MAX_CHANNELS):
        raise InputError(
            f"an audio array has shape {array.shape}; expected (n,), (n, channels) or (channels, n), with at most "
            f"{MAX_CHANNELS} channels"
        )
    check_length(len(array), rate, max_seconds)
    if array.dtype not in (np.int16, np.int32) and array.dtype.kind != "f":
        raise InputError(f"an audio array is {array.dtype}; expected int16, int32 or floats in [-1, 1]")
    full = np.float32(1 if array.dtype.kind == "f" else -float(np.iinfo(array.dtype).min))
    blocks = (array[at : at + _BLOCK] for at in range(0, len(array), _BLOCK))
    return (_mono((block if full == 1 else block / full).reshape(len(block), -1)) for block in blocks)
