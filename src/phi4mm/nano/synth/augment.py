"""Augmentation of speech as a microphone records it: silence around it, a room, a telephone, noise, gain, clipping.

n samples of one channel. `record` is today's augmentation, at 16 kHz; `augment` is the first nano's, on which it is
still scored.
"""

from __future__ import annotations

import functools
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import soxr

from phi4mm.protocol.inputs import F32

SILENCE = (0.02, 0.35)  # seconds, before speech and after it
STRETCH = (0.85, 1.18)
RATE, NARROW = 16000, 8000  # Hz
Noise: TypeAlias = Literal["white", "pink", "brown", "hum", "fan", "crackle"]
NOISES: tuple[Noise, ...] = ("white", "pink", "brown", "hum", "fan", "crackle")
NOISE_SECONDS = 40


def record(samples: F32, rng: np.random.Generator) -> tuple[F32, int]:
    """Speech (n,) at RATE as a microphone records it, and the rate of the recording: RATE or NARROW.

    Another speed in 7 of 10 recordings, room echo in 3 of 10, noise in 2 of 3, a telephone in 1 of 4, half of them left
    at 8 kHz, clipping in 1 of 12; silence around the speech, and gain, in all.
    """
    recorded = stretch(samples, float(rng.uniform(0.9, 1.12))) if rng.random() < 0.7 else samples
    recorded = pad_silence(recorded, RATE, *rng.uniform(0.02, 0.6, 2))
    if rng.random() < 0.3:
        recorded = convolve(recorded, room(float(rng.uniform(0.05, 0.4)), rng))
    if rng.random() < 0.65:
        steady = noise(NOISES[rng.integers(len(NOISES))], len(recorded), rng)
        recorded = mix(recorded, steady, float(rng.uniform(8, 40)))
    rate = RATE
    if rng.random() < 0.25:
        recorded, rate = over_telephone(recorded, rng), NARROW
        if rng.random() < 0.5:
            recorded, rate = np.asarray(soxr.resample(recorded, NARROW, RATE), np.float32), RATE
    if rng.random() < 1 / 12:
        recorded = np.clip(set_peak(recorded, float(rng.uniform(1.2, 3))), -1, 1)
    return set_peak(recorded, float(10 ** rng.uniform(-1.5, -0.02))), rate


def room(seconds: float, rng: np.random.Generator) -> F32:
    """The impulse response of a room: the direct sound, then reflections that die away within `seconds`."""
    count = max(1, int(seconds * RATE))
    tail = rng.standard_normal(count, np.float32) * np.exp(np.linspace(0, -6, count, dtype=np.float32))
    strength = float(rng.uniform(0.15, 0.6))
    return np.concatenate([np.ones(1, np.float32), strength * tail / np.sqrt(np.square(tail).sum())])


def over_telephone(samples: F32, rng: np.random.Generator) -> F32:
    """`samples` at NARROW: 300 to 3400 Hz in 2 of 3 calls, and `mu_law` in 2 of 3."""
    band = convolve(samples, _telephone_band()) if rng.random() < 2 / 3 else samples
    narrow = set_peak(np.asarray(soxr.resample(band, RATE, NARROW), np.float32), 0.9)
    return mu_law(narrow) if rng.random() < 2 / 3 else narrow


def mu_law(samples: F32) -> F32:
    """`samples` after eight bits each on a logarithmic scale, as telephones send them (G.711, continuous form)."""
    level = np.round(127 * np.log1p(255 * np.abs(samples)) / np.log(256)) / 127
    return np.asarray(np.sign(samples) * np.expm1(level * np.log(256)) / 255, np.float32)


def noise(kind: Noise, count: int, rng: np.random.Generator) -> F32:
    """`count` samples of a noise of about unit power, of at most NOISE_SECONDS, from a place drawn from `rng`."""
    recorded = _noise(kind)
    if count >= len(recorded):
        return np.resize(recorded, count)
    start = int(rng.integers(len(recorded) - count))
    return recorded[start : start + count]


def mix(samples: F32, noise: F32, snr: float) -> F32:
    """`samples` with `noise` of the same length, `snr` decibels below the mean power of the samples that are loud."""
    loud = np.abs(samples) > 0.02 * np.abs(samples).max(initial=0.0)
    power = float(np.square(samples[loud]).mean()) if loud.any() else 1e-4
    ratio = power / 10 ** (snr / 10) / max(1e-12, float(np.square(noise).mean()))
    return samples + noise * np.float32(np.sqrt(ratio))


def convolve(samples: F32, impulse: F32) -> F32:
    """`samples` filtered by `impulse`, block by block; the length stays."""
    size = max(4096, _fast_size(4 * len(impulse)))
    step = size - len(impulse) + 1
    blocks = -(-len(samples) // step)
    padded = np.pad(samples, (0, blocks * step - len(samples))).reshape(blocks, step)
    filtered = np.fft.irfft(np.fft.rfft(padded, size) * np.fft.rfft(impulse, size), size)
    result = np.zeros(blocks * step + size, np.float32)
    result[: blocks * step] = filtered[:, :step].ravel()
    tails = result[step : step + blocks * step].reshape(blocks, step)
    tails[:, : size - step] += filtered[:, step:]
    return result[: len(samples)]


@functools.cache
def _telephone_band() -> F32:
    """A band-pass from 300 to 3400 Hz: 257 taps of a windowed sinc."""
    time = np.arange(-128, 129)
    band = [2 * cutoff / RATE * np.sinc(2 * cutoff / RATE * time) for cutoff in (300, 3400)]
    return np.asarray((band[1] - band[0]) * np.hamming(257), np.float32)


@functools.cache
def _noise(kind: Noise) -> F32:
    """NOISE_SECONDS of a noise, the same in every process."""
    rng, count = np.random.default_rng(NOISES.index(kind)), NOISE_SECONDS * RATE
    time = np.arange(count, dtype=np.float32) / RATE
    if kind == "hum":
        parts = [np.sin(2 * np.pi * (50 * n * time + rng.random())) / n for n in range(1, 9)]
        made = np.sum(parts, axis=0) + 0.1 * rng.standard_normal(count)
    elif kind == "crackle":
        made = np.where(rng.random(count) < 0.001, rng.standard_normal(count) * 20, 0.05 * rng.standard_normal(count))
    else:
        spectrum = np.fft.rfft(rng.standard_normal(count))
        frequency = np.maximum(20, np.fft.rfftfreq(count, 1 / RATE))
        slope = {"white": 0.0, "pink": 0.5, "brown": 1.0, "fan": 0.8}[kind]
        made = np.fft.irfft(spectrum / frequency**slope, count)
        if kind == "fan":
            made = made * (1 + 0.5 * np.sin(2 * np.pi * 7.3 * time))
    return np.asarray(made / np.sqrt(np.square(made).mean()), np.float32)


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
