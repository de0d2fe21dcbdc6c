"""From a text to a recording: voices drawn, sentences spoken with pauses between them, a microphone in between.

A text has one sentence a line; an empty line hands over to another voice. n samples of one channel at RATE.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import soxr

from phi4mm.nano.synth import augment, voice
from phi4mm.nano.synth.augment import RATE
from phi4mm.nano.synth.example import Language
from phi4mm.nano.synth.split import Split
from phi4mm.nano.synth.utterance import Speech
from phi4mm.protocol.inputs import F32
from phi4mm.protocol.messages import Audio

PAUSES = ((0.15, 0.9), (0.15, 0.9), (0.5, 2.2))  # seconds between two sentences: hasty, hasty, slow
LONGEST = 30.0  # seconds of a recording, as long as its words allow


def say(text: str, language: Language, split: Split, rng: random.Random) -> Audio:
    """`text` synthesized now: each part in one voice of `language` and `split`, recorded."""
    spoken: list[F32] = []
    for lines in parts(text):
        drawn = voice.draw_voice(language, split, rng)
        spoken += [at_rate(voice.speak(line, drawn))[0] for line in lines]
    return record(spoken, rng)


def say_first(text: str, _language: Language, split: Split, rng: random.Random) -> Audio:
    """English `text` in an espeak-ng voice of `split` and augmented, as the first nano heard it."""
    spoken = voice.speak(text, voice.draw_espeak("en", split, rng))
    noise = np.random.default_rng(rng.getrandbits(64))
    return Audio(augment.augment(spoken.samples, spoken.rate, noise), spoken.rate)


def say_unheard(text: str, _language: Language, _split: Split, rng: random.Random) -> Audio:
    """English `text` in the voice of a synthesizer that no training hears, recorded."""
    return record([at_rate(voice.speak(line, voice.UNHEARD))[0] for lines in parts(text) for line in lines], rng)


def parts(text: str) -> list[list[str]]:
    """The sentences of each voice."""
    return [part.split("\n") for part in text.split("\n\n")]


def transcript(text: str) -> str:
    """The words of a text, on one line."""
    return " ".join(text.split())


def at_rate(speech: Speech) -> tuple[F32, float]:
    """A speech at RATE without the silence at its ends, as loud as every other; and the seconds cut at its start."""
    samples = np.asarray(soxr.resample(speech.samples, speech.rate, RATE), np.float32)
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max(initial=0.0))
    start, end = (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, len(samples))
    return augment.set_peak(samples[start:end], 0.9), start / RATE


def record(spoken: Sequence[F32], rng: random.Random) -> Audio:
    """Sentences (n,) one after another, with pauses that `rng` draws, as a microphone records them."""
    shortest, longest = rng.choice(PAUSES)
    pauses = [rng.uniform(shortest, longest) for _ in spoken[1:]]
    room = LONGEST / 1.12 - 1.2 - sum(map(len, spoken)) / RATE  # it may be slowed, and silence is added
    scale = min(1.0, max(0.3, room / sum(pauses))) if pauses else 0.0
    joined = [spoken[0]]
    for pause, samples in zip(pauses, spoken[1:], strict=True):
        joined += [np.zeros(int(pause * scale * RATE), np.float32), samples * np.float32(rng.uniform(0.6, 1))]
    noise = np.random.default_rng(rng.getrandbits(64))
    return Audio(*augment.record(np.concatenate(joined), noise))
