"""Speech synthesis with espeak-ng, loaded into this process.

The synthesizer comes from the pip package `espeakng-loader` and is used only to make training data and held-out
tests. It keeps one voice at a time for the whole process, so utterances are made one after another. Words, timing and
pitch depend only on the arguments; the phase of the wave depends also on earlier utterances.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import random
import re
from dataclasses import dataclass

import numpy as np

from phi4mm.errors import ConfigError
from phi4mm.nano.synth.split import Split
from phi4mm.protocol.inputs import F32

SYNCHRONOUS, UTF8, DONT_EXIT = 2, 1, 0x8000
RATE, VOLUME, PITCH, RANGE = 1, 2, 3, 4
NO_EVENT, WORD = 0, 1
MAX_SECONDS = 60

TRAIN_VOICES = tuple(
    """
    en-us en en-us+m1 en-us+m2 en-us+m3 en+m5 en-us+m7 en+m8 en-us+f1 en+f1 en-us+f3 en-us+f5 en+f3 en-us+Alex
    en-us+Alicia en-us+Andrea en+Gene en-us+Lee en-us+Michael en+Mike en-us+adam en-us+anika en+benjamin en-us+belinda
    en-us+caleb en-us+david en+edward en-us+ian en-us+iven en-us+john en-gb-scotland+linda en-us+paul en-us+quincy
    en-gb-x-rp+shelby en-us+steph en-us+travis en-gb-scotland+m3 en-gb-x-rp+f1 en-us+Andy en-us+Denis en-us+Diogo
    en-us+Hugo en-us+Jacky en-us+Marco en+Mario en-us+Reed en-us+Storm en+antonio en-us+aunty en-us+boris en-us+ed
    en-us+grandma en-us+grandpa en-us+gustave en-us+kaukovalta en-us+klatt2 en-us+klatt4 en-us+marcelo en-us+max
    en+michel en-us+miguel en-us+norbert en-us+pablo en-us+pedro en-us+rob en-us+sandro en-us+victor en-us+steph2
    en-us+iven3 en-gb-x-rp+adam en-gb-scotland+f3 en-us-nyc+m1 en-us+linda
    """.split()
)
HELD_OUT_VOICES = ("en-us+f2", "en-us+m4", "en+m6", "en-us+Annie", "en+f4", "en-us+robert", "en-us+zac")


@dataclass(frozen=True)
class Voice:
    """A voice and its settings.

    name    espeak-ng voice and variant, such as "en-us+f3"
    rate    words per minute
    pitch   0 to 100; 50 is the voice's default
    range   variation of the pitch, 0 to 100
    volume  percent of the default, 0 to 200
    """

    name: str
    rate: int = 165
    pitch: int = 50
    range: int = 50
    volume: int = 100


def draw_voice(split: Split, rng: random.Random) -> Voice:
    """A voice of `split` at a rate, pitch and volume drawn from `rng`."""
    name = rng.choice(TRAIN_VOICES if split == "train" else HELD_OUT_VOICES)
    return Voice(name, rng.randint(130, 200), rng.randint(32, 68), rng.randint(30, 75), rng.randint(60, 110))


@dataclass(frozen=True, eq=False)
class Speech:
    """Samples (n,) float32 in [-1, 1], their rate in Hz, and when each word of the text begins, in seconds."""

    samples: F32
    rate: int
    onsets: tuple[float, ...]


def speak(text: str, voice: Voice) -> Speech:
    """`text` spoken by `voice`. Raises ConfigError."""
    return _synthesizer().speak(text, voice)


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

    def speak(self, text: str, voice: Voice) -> Speech:
        if self.library.espeak_SetVoiceByName(voice.name.encode()):
            raise ConfigError(f"espeak-ng has no voice {voice.name!r}; use one of TRAIN_VOICES or HELD_OUT_VOICES")
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
