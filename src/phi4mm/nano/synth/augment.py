"""Augmentation of speech as recorded by a microphone: silence around it, room echo, telephone band, noise, gain.

n samples of one channel.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from phi4mm.protocol.inputs import F32

SILENCE = (0.02, 0.35)  # seconds, before speech and after it
STRETCH = (0.85, 1.18)


def augment(samples: F32, rate: int, rng: np.random.Generator) -> F32:
    """Pad `samples` (n,) with silence and degrade them, as a microphone might record them; within [-1, 1]."""
    return degrade(pad_silence(samples, rate, *rng.uniform(*SILENCE, 2)), rate, rng)


def stretch(samples: F32, factor: float) -> F32:
    """The same speech `factor` times as long and as much lower in pitch."""
    source = np.arange(int(len(samples) * factor)) / factor
    return np.interp(source, np.arange(len(samples)), samples).astype(np.float32)


def degrade(samples: F32, rate: int, rng: np.random.Generator) -> F32:
    """Echo, band limit, gain and noise, each drawn from `rng`; the length stays."""
    degraded = samples
    if rng.random() < 0.25:
        degraded = echo(degraded, rate, float(rng.uniform(0.05, 0.25)), rng)
    if rng.random() < 0.15:
        degraded = band_limit(degraded, rate, float(rng.uniform(3400, 3900)))
    degraded = set_peak(degraded, float(10 ** rng.uniform(-1.3, -0.05)))
    if rng.random() < 0.6:
        degraded = add_noise(degraded, float(rng.uniform(12, 40)), rng)
    return np.clip(degraded, -1, 1)


def pad_silence(samples: F32, rate: int, before: float, after: float) -> F32:
    """Silence of `before` and `after` seconds around `samples`."""
    return np.pad(samples, (int(before * rate), int(after * rate)))


def echo(samples: F32, rate: int, seconds: float, rng: np.random.Generator) -> F32:
    """Echo of a small room: decaying random reflections for `seconds` after the direct signal; the length stays."""
    count = max(1, int(seconds * rate))
    tail = rng.standard_normal(count, np.float32) * np.exp(np.linspace(0, -6, count, dtype=np.float32))
    impulse = np.concatenate([np.ones(1, np.float32), 0.35 * tail / np.sqrt(np.square(tail).sum())])
    size = _fast_size(len(samples) + count)
    return _inverse(np.fft.rfft(samples, size) * np.fft.rfft(impulse, size), len(samples))


def band_limit(samples: F32, rate: int, cutoff: float) -> F32:
    """Nothing above `cutoff` Hz, as over a telephone."""
    size = _fast_size(len(samples))
    spectrum = np.fft.rfft(samples, size)
    spectrum[round(cutoff / rate * size) :] = 0
    return _inverse(spectrum, len(samples))


def set_peak(samples: F32, peak: float) -> F32:
    """The same signal with its loudest sample at `peak`; silence stays silence."""
    loudest = float(np.abs(samples).max(initial=0.0))
    return samples * np.float32(peak / loudest) if loudest > 0 else samples


def add_noise(samples: F32, snr: float, rng: np.random.Generator) -> F32:
    """White or pink noise `snr` decibels below the signal's mean power."""
    noise = rng.standard_normal(_fast_size(len(samples)), np.float32)
    if rng.random() < 0.5:
        spectrum = np.fft.rfft(noise)
        noise = _inverse(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1, dtype=np.float32)), len(noise))
    noise = noise[: len(samples)]
    power = float(np.square(samples).mean()) / 10 ** (snr / 10)
    return samples + noise * np.float32(np.sqrt(power / max(1e-12, float(np.square(noise).mean()))))


def _inverse(spectrum: npt.NDArray[np.complexfloating], count: int) -> F32:
    """The first `count` samples of a spectrum of an even number of samples."""
    return np.fft.irfft(spectrum)[:count].astype(np.float32, copy=False)


def _fast_size(count: int) -> int:
    """The next power of two: lengths with large prime factors transform many times slower."""
    return 1 << max(1, count - 1).bit_length()
