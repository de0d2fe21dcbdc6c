"""Speech to text: clips of one to eight sentences to transcribe, and clips without a word."""

from __future__ import annotations

import random

import numpy as np

from phi4mm.nano.synth import passages, sounds, speaker
from phi4mm.nano.synth.augment import RATE
from phi4mm.nano.synth.example import Example, Language, Speaker
from phi4mm.nano.synth.split import Split
from phi4mm.protocol.messages import Audio, Message

TASKS = ("clip", "silence")
SENTENCES = (1, 1, 1, 1, 2, 2, 3, 4, 5, 6, 7, 8)  # of a clip
MOST_LETTERS = 330  # of a clip: half a minute of the slowest voice
TRANSCRIBE = (
    "Transcribe the audio clip into text.", "Transcribe the audio clip into text.", "Transcribe the audio to text.",
    "Transcribe this.", "Write down what is said.", "What is said?", "Transcribe the audio.",
    "Transcribe the recording.", "Please transcribe this audio.", "What does the speaker say?", "Write what you hear.",
    "Transcribe",
)  # fmt: skip


def make(task: str, split: Split, rng: random.Random, say: Speaker) -> Example:
    """An example of one of TASKS."""
    if task == "silence":
        return _silence(rng)
    return _clip("en", split, rng, say)


def _clip(language: Language, split: Split, rng: random.Random, say: Speaker) -> Example:
    text = draw_text(language, split, rng)
    words = speaker.transcript(text)
    return Example("clip", (Message.user(say(text, language, split, rng), rng.choice(TRANSCRIBE)),), (), words, words)


def draw_text(language: Language, split: Split, rng: random.Random) -> str:
    """The sentences of a clip, one a line: mostly of one voice, now and then of two or three."""
    count, voices = rng.choice(SENTENCES), rng.choice((1, 1, 1, 2, 3))
    parts, letters = [], 0
    for number in range(min(voices, count)):
        drawn = passages.draw_sentences(language, split, rng, len(range(number, count, voices)))
        kept = [line for line in drawn if (letters := letters + len(line)) <= MOST_LETTERS]
        parts += ["\n".join(kept)] if kept else []
    return "\n\n".join(parts)


def _silence(rng: random.Random) -> Example:
    noise = np.random.default_rng(rng.getrandbits(64))
    seconds = float(rng.choice((rng.uniform(0.3, 3), rng.uniform(0.3, 3), rng.uniform(3, 10), rng.uniform(10, 30))))
    audio = Audio(sounds.make(seconds, noise), RATE)
    return Example("silence", (Message.user(audio, rng.choice(TRANSCRIBE)),), (), "")
