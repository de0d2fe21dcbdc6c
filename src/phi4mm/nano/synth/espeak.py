"""Speech synthesis with espeak-ng, loaded into this process.

The synthesizer comes from the pip package `espeakng-loader`. It keeps one voice at a time for the whole process, so
utterances are made one after another. Words, timing and pitch depend only on the arguments; the phase of the wave
depends also on earlier utterances.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import re

import numpy as np

from phi4mm.errors import ConfigError
from phi4mm.nano.synth.utterance import Speech, Voice
from phi4mm.protocol.inputs import F32

SYNCHRONOUS, UTF8, DONT_EXIT, IPA = 2, 1, 0x8000, 2
RATE, VOLUME, PITCH, RANGE = 1, 2, 3, 4
NO_EVENT, WORD = 0, 1
MAX_SECONDS = 60


def speak(text: str, voice: Voice) -> Speech:
    """`text` spoken by `voice`. Raises ConfigError."""
    return _synthesizer().speak(text, voice)


def phonemes(text: str, name: str) -> list[str]:
    """The sounds of each clause of `text` in the International Phonetic Alphabet, as voice `name` says them.

    raises  ConfigError
    """
    return _synthesizer().phonemes(text, name)


class _Event(ctypes.Structure):
    """When something is spoken: `text_position` counts characters from 1, `audio_position` is in milliseconds."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


class _Synthesizer:
    """The loaded library. The callback must outlive every call, so it is kept here."""

    def __init__(self, library: ctypes.CDLL, data_path: str) -> None:
        self.library = library
        self.blocks: list[F32] = []
        self.samples = 0
        self.words: dict[int, float] = {}
        callback_type = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
        )
        self.callback = callback_type(self._receive)
        self.rate: int = library.espeak_Initialize(SYNCHRONOUS, 0, data_path.encode(), DONT_EXIT)
        if self.rate <= 0:
            raise ConfigError(f"espeak-ng found no data in {data_path}; reinstall with pip install 'phi4mm[synth]'")
        library.espeak_SetSynthCallback(self.callback)
        library.espeak_TextToPhonemes.restype = ctypes.c_char_p

    def _receive(self, wave: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]) -> int:
        number = 0
        while events and events[number].type != NO_EVENT:
            if events[number].type == WORD:
                self.words[events[number].text_position - 1] = events[number].audio_position / 1000
            number += 1
        if wave and count > 0:
            self.blocks.append(np.ctypeslib.as_array(wave, (count,)).astype(np.float32) / np.float32(32768))
            self.samples += count
        return int(self.samples > MAX_SECONDS * self.rate)

    def phonemes(self, text: str, name: str) -> list[str]:
        self._set_voice(name)
        rest, clauses = ctypes.c_char_p(text.encode()), []
        while rest.value is not None:
            clauses.append(self.library.espeak_TextToPhonemes(ctypes.byref(rest), UTF8, IPA).decode())
        return clauses

    def _set_voice(self, name: str) -> None:
        if self.library.espeak_SetVoiceByName(name.encode()):
            raise ConfigError(f"espeak-ng has no voice {name!r}; use one that synth/voice.py lists")

    def speak(self, text: str, voice: Voice) -> Speech:
        self._set_voice(voice.name)
        settings = ((RATE, voice.rate), (VOLUME, voice.volume), (PITCH, voice.pitch), (RANGE, voice.range))
        for parameter, value in settings:
            self.library.espeak_SetParameter(parameter, value, 0)
        self.blocks, self.samples, self.words = [], 0, {}
        encoded = text.encode()
        self.library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, UTF8, None, None)
        self.library.espeak_Synchronize()
        samples = np.concatenate([np.zeros(0, np.float32), *self.blocks])
        return Speech(samples, self.rate, _onsets(text, self.words, len(samples) / self.rate))


def _onsets(text: str, starts: dict[int, float], seconds: float) -> tuple[float, ...]:
    """When each word begins; words that the synthesizer merged divide the time of the merged words evenly."""
    positions = [match.start() for match in re.finditer(r"\S+", text)]
    known = [number for number, position in enumerate(positions) if position in starts or number == 0]
    onsets: list[float] = []
    for number, following in itertools.pairwise([*known, len(positions)]):
        begin = starts.get(positions[number], 0.0)
        end = starts[positions[following]] if following < len(positions) else seconds
        onsets += [begin + (end - begin) * n / (following - number) for n in range(following - number)]
    return tuple(onsets)


@functools.cache
def _synthesizer() -> _Synthesizer:
    try:
        import espeakng_loader
    except ImportError as error:
        raise ConfigError("speech synthesis needs espeak-ng; run pip install 'phi4mm[synth]'") from error
    return _Synthesizer(ctypes.CDLL(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path()))
