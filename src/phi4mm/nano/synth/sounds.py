"""Sounds without words: silence, noise, hum, tones, music, knocks and clicks, and what animals might sound like.

n samples of one channel at augment.RATE.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from phi4mm.nano.synth import augment
from phi4mm.nano.synth.augment import NOISES, RATE
from phi4mm.protocol.inputs import F32

SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9))  # major, minor, five tones
CHORDS = ((0, 4, 7), (0, 3, 7), (0, 4, 7, 10))  # in semitones above the root
A4 = 440.0  # Hz


def silence(count: int, rng: np.random.Generator) -> F32:
    """Nothing, exact zeros or the faint noise of a microphone."""
    faint = float(rng.choice((0, 1e-5, 1e-4, 1e-3)))
    return np.float32(faint) * rng.standard_normal(count, np.float32)


def noise(count: int, rng: np.random.Generator) -> F32:
    """A steady noise or a hum, or two at once; now and then one that swells and fades."""
    mixed = sum(
        (
            augment.noise(NOISES[rng.integers(len(NOISES))], count, rng) * rng.uniform(0.2, 1)
            for _ in range(rng.integers(1, 3))
        ),
        np.zeros(count, np.float32),
    )
    if rng.random() < 0.4:
        mixed = mixed * (1.1 + np.sin(2 * np.pi * rng.uniform(0.1, 1) * _time(count) + rng.uniform(0, 6)))
    return np.asarray(mixed, np.float32)


def tones(count: int, rng: np.random.Generator) -> F32:
    """Beeps: one pitch or several in turn, as telephones, ovens and alarms make them; or a siren."""
    if rng.random() < 0.2:
        sweep = rng.uniform(500, 900) + rng.uniform(100, 400) * np.sin(2 * np.pi * rng.uniform(0.2, 2) * _time(count))
        return np.asarray(np.sin(2 * np.pi * np.cumsum(sweep) / RATE), np.float32)
    pitches, period = rng.uniform(300, 2000, rng.integers(1, 4)), float(rng.uniform(0.1, 1))
    on, result, start = float(rng.uniform(0.3, 1)), np.zeros(count, np.float32), 0
    while start < count:
        pitch = pitches[int(start / RATE / period) % len(pitches)]
        _add(result, start, np.sin(2 * np.pi * pitch * _time(int(on * period * RATE))))
        start += int(period * RATE)
    return result


def music(count: int, rng: np.random.Generator) -> F32:
    """Chords, a melody over them and drums, each now and then, at a tempo of 60 to 160 beats a minute."""
    beat, result = int(RATE * 60 / rng.uniform(60, 160)), np.zeros(count, np.float32)
    scale, root = SCALES[rng.integers(len(SCALES))], int(rng.integers(-24, 3))
    chords, melody, drums = rng.random(3) < (0.7, 0.75, 0.5)
    partials = 1 / np.arange(1, rng.integers(2, 7)) ** rng.uniform(0.8, 2)
    decay = float(rng.uniform(0.5, 6))
    for number, start in enumerate(range(0, count, beat)):
        if (chords or not (melody or drums)) and number % 4 == 0:
            base = root + scale[rng.integers(len(scale))] - 12
            for step in CHORDS[rng.integers(len(CHORDS))]:
                _add(result, start, 0.5 * _note(base + step, 4 * beat, partials, decay / 3))
        if melody:
            for half in range(int(rng.integers(0, 3))):
                pitch = root + scale[rng.integers(len(scale))] + 12 * int(rng.integers(0, 2))
                _add(result, start + half * beat // 2, _note(pitch, beat, partials, decay))
        if drums:
            _add(result, start, 1.5 * (_thump(rng) if number % 2 == 0 else _burst(0.12, rng)))
    return result


def knocks(count: int, rng: np.random.Generator) -> F32:
    """Knocks, clicks, steps or keys: short bursts, evenly in time or not, over a faint noise."""
    result, start = 0.005 * rng.standard_normal(count, np.float32), int(rng.uniform(0, 0.5) * RATE)
    apart, spread, length = float(rng.uniform(0.08, 0.8)), float(rng.uniform(0, 0.6)), float(rng.uniform(0.004, 0.08))
    dull = rng.random() < 0.5
    while start < count:
        _add(result, start, float(rng.uniform(0.4, 1)) * (_thump(rng) if dull else _burst(length, rng)))
        start += int(RATE * apart * (1 + spread * rng.uniform(-1, 2))) + 1
    return result


def animals(count: int, rng: np.random.Generator) -> F32:
    """Calls that glide in pitch: chirps of a bird or a cricket, barks, mews and lowing."""
    low, high, length = ((2000, 5000, 0.12), (4000, 5000, 0.03), (250, 600, 0.2), (400, 900, 0.7), (90, 160, 1.2))[
        rng.integers(5)
    ]
    rough, result = float(rng.uniform(0, 0.4)), 0.003 * rng.standard_normal(count, np.float32)
    start = int(rng.uniform(0, 0.4) * RATE)
    while start < count:
        size = int(length * rng.uniform(0.6, 1.4) * RATE)
        first, last = rng.uniform(low, high, 2)
        glide = np.linspace(float(first), float(last), size)
        phase = 2 * np.pi * np.cumsum(glide) / RATE
        call = np.sin(phase) + 0.5 * np.sin(2 * phase) + 0.3 * np.sin(3 * phase) + rough * rng.standard_normal(size)
        _add(result, start, call * np.hanning(size))
        start += int(size * rng.uniform(1.1, 5))
    return result


Kind: TypeAlias = Callable[[int, np.random.Generator], F32]
KINDS: tuple[Kind, ...] = (silence, noise, tones, music, music, knocks, animals)


def make(seconds: float, rng: np.random.Generator) -> F32:
    """A sound of one of KINDS: (n,) float32 within [-1, 1]."""
    kind = KINDS[rng.integers(len(KINDS))]
    sound = kind(int(seconds * RATE), rng)
    if kind is silence:
        return sound
    if rng.random() < 0.3:
        sound = augment.convolve(sound, augment.room(float(rng.uniform(0.1, 0.4)), rng))
    return augment.set_peak(sound, float(10 ** rng.uniform(-2, -0.02)))


def _time(count: int) -> F32:
    return np.arange(count, dtype=np.float32) / np.float32(RATE)


def _note(semitones: int, count: int, partials: np.ndarray, decay: float) -> F32:
    """A note `semitones` above A4, its overtones as loud as `partials`, that dies away `decay` times a second."""
    time = _time(count)
    pitch = A4 * 2 ** (semitones / 12)
    wave = sum(
        (loud * np.sin(2 * np.pi * n * pitch * time) for n, loud in enumerate(partials, 1) if n * pitch < RATE / 2),
        np.zeros(count, np.float32),
    )
    return np.asarray(wave * np.exp(-decay * time) * np.minimum(1, 100 * time), np.float32)


def _thump(rng: np.random.Generator) -> F32:
    """A dull beat, as of a drum."""
    time = _time(int(0.2 * RATE))
    return np.asarray(
        np.sin(2 * np.pi * rng.uniform(50, 120) * time * np.exp(-4 * time)) * np.exp(-25 * time), np.float32
    )


def _burst(seconds: float, rng: np.random.Generator) -> F32:
    """Noise that dies away within `seconds`."""
    count = max(8, int(seconds * RATE))
    return rng.standard_normal(count, np.float32) * np.exp(np.linspace(0, -5, count, dtype=np.float32))


def _add(result: F32, start: int, samples: np.ndarray) -> None:
    """Add `samples` to `result` from `start` on, in place, as far as it goes."""
    end = min(len(result), start + len(samples))
    if end > start:
        result[start:end] += samples[: end - start]
