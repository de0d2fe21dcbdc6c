"""Augmentation: the first nano's, and recording at 16 kHz."""

from __future__ import annotations

import numpy as np
import pytest

from phi4mm.nano.synth import augment

RATE = 16000
TONE = np.asarray(0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE), np.float32)


def power_above(samples: np.ndarray, cutoff: float) -> float:
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    return float(spectrum[np.fft.rfftfreq(len(samples), 1 / RATE) > cutoff].sum() / spectrum.sum())


def test_noise_has_the_requested_signal_to_noise_ratio() -> None:
    """Prevents decibels computed from amplitude instead of power."""
    for seed in range(4):
        noise = augment.add_noise(TONE, 20, np.random.default_rng(seed)) - TONE
        measured = 10 * np.log10(np.square(TONE).mean() / np.square(noise).mean())
        assert measured == pytest.approx(20, abs=0.1)


def test_a_band_limit_removes_what_is_above_it_and_keeps_what_is_below() -> None:
    """Prevents a cutoff in the wrong unit."""
    rng = np.random.default_rng(0)
    noisy = augment.add_noise(TONE, 0, rng)
    limited = augment.band_limit(noisy, RATE, 3500)
    assert power_above(limited, 3700) < 0.001 < power_above(noisy, 3700)
    assert len(limited) == len(noisy)


def test_stretched_speech_is_longer_and_lower_in_pitch() -> None:
    """Prevents a stretch that changes length and pitch by different factors."""
    longer = augment.stretch(TONE, 1.1)
    assert len(longer) == int(1.1 * len(TONE))
    peak = np.fft.rfftfreq(len(longer), 1 / RATE)[np.abs(np.fft.rfft(longer)).argmax()]
    assert peak == pytest.approx(1000 / 1.1, abs=3)


def test_an_echo_keeps_length_and_decays() -> None:
    """Prevents an echo that lengthens the utterance or removes its start."""
    click = np.zeros(RATE, np.float32)
    click[100] = 1
    echoed = augment.echo(click, RATE, 0.2, np.random.default_rng(0))
    assert len(echoed) == RATE and echoed[100] == pytest.approx(1, abs=0.1)
    energy = np.square(echoed)
    assert energy[101:900].sum() > 20 * energy[2500:3300].sum()
    assert energy[3400:].sum() < 1e-6


def test_augmented_speech_stays_in_range_and_audible() -> None:
    """Prevents clipped or silent training data."""
    for seed in range(20):
        augmented = augment.augment(TONE, RATE, np.random.default_rng(seed))
        assert augmented.dtype == np.float32 and np.abs(augmented).max() <= 1
        assert len(TONE) < len(augmented) <= len(TONE) + 0.71 * RATE
        assert np.abs(augmented).max() > 0.03


def test_silence_stays_silence() -> None:
    """Prevents a division by zero on an empty utterance."""
    quiet = np.zeros(1000, np.float32)
    assert not augment.set_peak(quiet, 0.5).any()
    assert np.isfinite(augment.augment(quiet, RATE, np.random.default_rng(0))).all()


def test_a_recording_is_the_same_for_the_same_seed_audible_and_within_range() -> None:
    """Prevents clipped, silent or irreproducible training data."""
    rates = set()
    for seed in range(60):
        recorded, rate = augment.record(TONE, np.random.default_rng(seed))
        again, _ = augment.record(TONE, np.random.default_rng(seed))
        assert recorded.dtype == np.float32 and 0.02 < np.abs(recorded).max() <= 1
        assert 0.9 * len(TONE) / RATE < len(recorded) / rate < 1.12 * len(TONE) / RATE + 1.3
        assert np.array_equal(recorded, again)
        rates.add(rate)
    assert rates == {8000, 16000}


def test_a_filter_in_blocks_is_the_convolution() -> None:
    """Prevents a lost tail at the borders of the blocks."""
    noise = np.random.default_rng(0).standard_normal(30000).astype(np.float32)
    impulse = augment.room(0.3, np.random.default_rng(1))
    whole = np.convolve(noise.astype(np.float64), impulse.astype(np.float64))[: len(noise)]
    assert np.abs(augment.convolve(noise, impulse) - whole).max() < 1e-4


def test_a_telephone_passes_300_to_3400_hertz() -> None:
    """Prevents a telephone that passes everything, or nothing."""
    passed = {}
    for pitch in (100, 1000, 3300, 3700):
        tone = np.asarray(np.sin(2 * np.pi * pitch * np.arange(RATE) / RATE), np.float32)
        passed[pitch] = float(
            np.square(augment.convolve(tone, augment._telephone_band())).mean() / np.square(tone).mean()
        )
    assert passed[1000] == pytest.approx(1, abs=0.02) and passed[3300] > 0.5
    assert passed[100] < 0.02 and passed[3700] < 0.01


def test_mu_law_keeps_quiet_samples_apart() -> None:
    """Prevents eight even bits, which would lose quiet speech."""
    quiet = np.linspace(-0.01, 0.01, 201, dtype=np.float32)
    assert np.abs(augment.mu_law(quiet) - quiet).max() < 0.0003
    assert len(np.unique(augment.mu_law(np.linspace(-1, 1, 9999, dtype=np.float32)))) == 255


@pytest.mark.parametrize("kind", augment.NOISES)
def test_every_noise_has_unit_power_and_is_mixed_at_its_level(kind: augment.Noise) -> None:
    """Prevents one noise that drowns the speech and another that nobody hears."""
    noise = augment.noise(kind, RATE, np.random.default_rng(0))
    assert 0.2 < np.square(noise).mean() < 5
    loud = np.square(TONE[np.abs(TONE) > 0.01])
    added = augment.mix(TONE, noise, 20) - TONE
    assert 10 * np.log10(loud.mean() / np.square(added).mean()) == pytest.approx(20, abs=0.01)
