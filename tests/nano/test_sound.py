"""Speech synthesis and augmentation."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from phi4mm.errors import ConfigError
from phi4mm.nano.synth import augment, voice
from phi4mm.nano.synth.voice import Voice, speak

RATE = 16000
TONE = np.asarray(0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE), np.float32)


def power_above(samples: np.ndarray, cutoff: float) -> float:
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    return float(spectrum[np.fft.rfftfreq(len(samples), 1 / RATE) > cutoff].sum() / spectrum.sum())


def test_words_begin_in_order_within_the_speech() -> None:
    """Prevents word times that do not fit the utterance."""
    pytest.importorskip("espeakng_loader")
    speech = speak("The fish is in the kitchen.", Voice("en-us+f3"))
    assert len(speech.onsets) == 6
    assert list(speech.onsets) == sorted(speech.onsets)
    assert 0 <= speech.onsets[0] < speech.onsets[-1] < len(speech.samples) / speech.rate < 3
    assert np.abs(speech.samples).max() <= 1


def test_a_faster_voice_takes_less_time() -> None:
    """Prevents voice settings that do not reach the synthesizer."""
    pytest.importorskip("espeakng_loader")
    slow, fast = (len(speak("We go to the garden.", Voice("en-us", rate=rate)).samples) for rate in (120, 220))
    assert fast < 0.7 * slow


def test_every_voice_of_the_lists_can_speak() -> None:
    """Prevents a voice that the synthesizer lacks; it ignores an unknown variant without an error."""
    loader = pytest.importorskip("espeakng_loader")
    variants = {path.name for path in Path(loader.get_data_path(), "voices", "!v").iterdir()} | {""}
    assert {name.partition("+")[2] for name in (*voice.TRAIN_VOICES, *voice.HELD_OUT_VOICES)} <= variants
    for name in (*voice.TRAIN_VOICES, *voice.HELD_OUT_VOICES):
        assert len(speak("Hello.", Voice(name)).samples) > 2000, name


def test_an_unknown_voice_is_refused_by_name() -> None:
    """Prevents the previous voice from being used instead."""
    pytest.importorskip("espeakng_loader")
    with pytest.raises(ConfigError, match="espeak-ng has no voice 'xx-nowhere'"):
        speak("Hello.", Voice("xx-nowhere"))


def test_without_the_synthesizer_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a bare ImportError."""
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    voice._synthesizer.cache_clear()
    try:
        with pytest.raises(ConfigError, match=r"pip install 'phi4mm\[synth\]'"):
            speak("Hello.", Voice("en-us"))
    finally:
        voice._synthesizer.cache_clear()


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
