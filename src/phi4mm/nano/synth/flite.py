"""Speech synthesis with flite, four American and Scottish voices, loaded into this process.

The libraries come from the system package `libflite1` (Debian: apt-get install libflite1); LD_LIBRARY_PATH is where
else they may be.
"""

from __future__ import annotations

import ctypes
import functools

import numpy as np

from phi4mm.errors import ConfigError
from phi4mm.nano.synth.utterance import DEFAULT_RATE, Speech, Voice

# Mean of the fundamental frequency of each voice, in Hz; rms keeps its own.
MEAN_PITCH = {"awb": 129.0, "kal16": 90.0, "rms": 105.0, "slt": 170.0}
FIRST_PHONE = b"daughter1.R:SylStructure.daughter1.daughter1.R:Segment.p.end"  # of a word of the text


class _Wave(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class _Voice(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("features", ctypes.c_void_p))


def speak(text: str, voice: Voice) -> Speech:
    """`text` spoken by `voice`. Raises ConfigError."""
    if voice.name not in MEAN_PITCH:
        raise ConfigError(f"flite has no voice {voice.name!r}; use one of {', '.join(MEAN_PITCH)}")
    library, loaded = _library(), _voice(voice.name)
    pitch = MEAN_PITCH[voice.name] * (0.75 + 0.5 * voice.pitch / 100)
    library.feat_set_float(loaded.contents.features, b"duration_stretch", DEFAULT_RATE / voice.rate)
    library.feat_set_float(loaded.contents.features, b"int_f0_target_mean", pitch)
    utterance = library.flite_synth_text(text.encode(), loaded)
    try:
        wave = library.utt_wave(utterance).contents
        samples = np.ctypeslib.as_array(wave.samples, (wave.num_samples,)).astype(np.float32) / np.float32(32768)
        return Speech(samples, wave.sample_rate, _onsets(library, utterance))
    finally:
        library.delete_utterance(utterance)


def _onsets(library: ctypes.CDLL, utterance: int) -> tuple[float, ...]:
    onsets, word = [], library.relation_head(library.utt_relation(utterance, b"Token"))
    while word:
        onsets.append(float(library.ffeature_float(word, FIRST_PHONE)))
        word = library.item_next(word)
    return tuple(onsets)


@functools.cache
def _library() -> ctypes.CDLL:
    library = _load("libflite.so.1")
    library.flite_init()
    signatures = {
        "flite_synth_text": (ctypes.c_void_p, (ctypes.c_char_p, ctypes.POINTER(_Voice))),
        "utt_wave": (ctypes.POINTER(_Wave), (ctypes.c_void_p,)),
        "utt_relation": (ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_char_p)),
        "relation_head": (ctypes.c_void_p, (ctypes.c_void_p,)),
        "item_next": (ctypes.c_void_p, (ctypes.c_void_p,)),
        "ffeature_float": (ctypes.c_float, (ctypes.c_void_p, ctypes.c_char_p)),
        "delete_utterance": (None, (ctypes.c_void_p,)),
        "feat_set_float": (None, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float)),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


@functools.cache
def _voice(name: str) -> ctypes._Pointer[_Voice]:
    for part in ("usenglish", "cmulex"):
        _load(f"libflite_{part}.so.1")
    register = getattr(_load(f"libflite_cmu_us_{name}.so.1"), f"register_cmu_us_{name}")
    register.restype, register.argtypes = ctypes.POINTER(_Voice), (ctypes.c_char_p,)
    loaded: ctypes._Pointer[_Voice] = register(None)
    return loaded


def _load(name: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise ConfigError(f"{name} cannot be loaded; flite's voices need it: apt-get install libflite1") from error
