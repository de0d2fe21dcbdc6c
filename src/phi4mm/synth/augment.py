"""What happens to speech on its way to a microphone: silence around it, a room, a narrow line, noise, gain.

Shape legend: n samples of one channel.
"""

from __future__ import annotations

import numpy as np

from phi4mm.prompt import F32


def augment(samples: F32, rate: int, rng: np.random.Generator) -> F32:
    """`samples` (n,) as a microphone might have heard them: longer by the silence around them, within [-1, 1]."""
    heard = pad_silence(samples, rate, *rng.uniform(0.02, 0.35, 2))
    if rng.random() < 0.25:
        heard = echo(heard, rate, float(rng.uniform(0.05, 0.25)), rng)
    if rng.random() < 0.15:
        heard = band_limit(heard, rate, float(rng.uniform(3400, 3900)))
    heard = set_peak(heard, float(10 ** rng.uniform(-1.3, -0.05)))
    if rng.random() < 0.6:
        heard = add_noise(heard, float(rng.uniform(12, 40)), rng)
    return np.clip(heard, -1, 1)


def pad_silence(samples: F32, rate: int, before: float, after: float) -> F32:
    """Silence of `before` and `after` seconds around `samples`."""
    return np.pad(samples, (int(before * rate), int(after * rate)))


def echo(samples: F32, rate: int, seconds: float, rng: np.random.Generator) -> F32:
    """A small room: decaying random reflections for `seconds` behind the direct sound; the length stays."""
    count = max(1, int(seconds * rate))
    tail = rng.normal(0, 1, count) * np.exp(-6 * np.arange(count) / count)
    impulse = np.concatenate([[1.0], 0.35 * tail / np.sqrt(np.square(tail).sum())])
    size = 1 << int(np.ceil(np.log2(len(samples) + len(impulse))))
    mixed = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(impulse, size), size)
    return mixed[: len(samples)].astype(np.float32)


def band_limit(samples: F32, rate: int, cutoff: float) -> F32:
    """Nothing above `cutoff` Hz, as over a telephone."""
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples), 1 / rate) > cutoff] = 0
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)


def set_peak(samples: F32, peak: float) -> F32:
    """The same sound with its loudest sample at `peak`; silence stays silence."""
    loudest = float(np.abs(samples).max(initial=0.0))
    return samples * np.float32(peak / loudest) if loudest > 0 else samples


def add_noise(samples: F32, snr: float, rng: np.random.Generator) -> F32:
    """White or pink noise `snr` decibels below the sound's mean power."""
    noise = rng.normal(0, 1, len(samples))
    if rng.random() < 0.5:
        spectrum = np.fft.rfft(noise)
        noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))), len(samples))
    power = float(np.square(samples).mean()) / 10 ** (snr / 10)
    noise *= np.sqrt(power / max(1e-12, float(np.square(noise).mean())))
    return (samples + noise).astype(np.float32)
