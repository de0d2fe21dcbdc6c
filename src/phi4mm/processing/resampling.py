"""Sound at any rate to the two rates of the model: 16 kHz, or 8 kHz where it is narrow-band.

Shape legend: n audio samples.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from phi4mm.protocol.inputs import F32

WIDE, NARROW = 16_000, 8_000  # Hz, the two rates that log_mel takes

_REACH = 10  # outputs on each side that the published filter spans
_BLOCK = 65_536  # samples filtered at a time


def resample(samples: F32, rate: int) -> tuple[F32, int]:
    """Resample (n,) float32 mono to 16000 Hz, or to 8000 Hz if `rate` is at most 8000; returns the new rate too.

    Multiples of 16000 go through the filter of the published code. At other rates that code decimates by a whole factor
    all the same and treats the result as 16 or 8 kHz; here they are resampled correctly.
    """
    return to_model_rate([samples], rate)


def to_model_rate(blocks: Iterable[F32], rate: int) -> tuple[F32, int]:
    """As `resample`, of samples that come in blocks."""
    target = NARROW if rate <= NARROW else WIDE
    return convert(blocks, rate, target), target


def convert(blocks: Iterable[F32], rate: int, target: int) -> F32:
    """Samples at `rate`, in blocks, at the rate `target`."""
    if rate == target:
        return np.concatenate(list(blocks))
    if target == WIDE and rate % WIDE == 0:
        return np.concatenate(list(_decimated(blocks, rate // WIDE)))
    stream = soxr.ResampleStream(rate, target, 1, dtype="float32", quality="HQ")
    parts = [stream.resample_chunk(block) for block in blocks]
    parts.append(stream.resample_chunk(np.empty(0, np.float32), last=True))
    return np.concatenate(parts)


def _decimated(blocks: Iterable[F32], factor: int) -> Iterator[F32]:
    """Every `factor`-th sample of the filtered sound, ceil(n / factor) in all; beyond both ends it is silent."""
    taps = _low_pass(factor)
    silence = np.zeros(_REACH * factor, np.float32)
    held = silence  # from where the next output's window begins
    for block in itertools.chain(_pieces(blocks), [silence]):
        held = np.concatenate([held, block])
        count = max(0, -(-(len(held) - len(taps) + 1) // factor))
        if count:
            windows = np.lib.stride_tricks.sliding_window_view(held, len(taps))[: count * factor : factor]
            yield np.ascontiguousarray(windows) @ taps
            held = held[count * factor :]


def _pieces(blocks: Iterable[F32]) -> Iterator[F32]:
    for block in blocks:
        yield from (block[at : at + _BLOCK] for at in range(0, len(block), _BLOCK))


@functools.cache
def _low_pass(factor: int) -> F32:
    """(20 factor + 1,): a sinc in a Kaiser window of beta 5, as SciPy's resample_poly has it by default."""
    reach = _REACH * factor
    taps = np.sinc(np.arange(-reach, reach + 1) / factor) * np.kaiser(2 * reach + 1, 5.0)
    out: F32 = (taps / taps.sum()).astype(np.float32)
    return out
