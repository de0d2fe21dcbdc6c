"""Speech to text in four languages: transcription, translation, and clips without a word.

A clip has one to eight sentences, of one voice or of two or three in turn. `clip` is the whole range, for training;
`short_clip` (an English sentence), `long_clip` (eight long ones) and `foreign_clip` are parts of it, to be measured one
by one. `speech_translate` wants the translation, `speech_both` the transcript before it, `speech_summary` the two
sentences that matter among some ten.
"""

from __future__ import annotations

import random
import re

import numpy as np

from phi4mm.nano.synth import passages, sounds, speaker, summaries
from phi4mm.nano.synth.augment import RATE
from phi4mm.nano.synth.example import LANGUAGES, Example, Language, Speaker
from phi4mm.nano.synth.language.grammar import render
from phi4mm.nano.synth.split import Split
from phi4mm.protocol.messages import Audio, Message

TASKS = (
    "clip", "short_clip", "long_clip", "foreign_clip", "silence", "speech_translate", "speech_both", "speech_summary",
)  # fmt: skip
SHARES: dict[Language, float] = {"en": 0.55, "de": 0.15, "fr": 0.15, "es": 0.15}  # of clips
SENTENCES = (1, 1, 1, 1, 2, 2, 3, 4, 5, 6, 7, 8)  # of a clip
MOST_LETTERS = 400  # of a clip: half a minute of the slowest voice
TRANSCRIBE = (
    "Transcribe the audio clip into text.", "Transcribe the audio clip into text.", "Transcribe the audio to text.",
    "Transcribe this.", "Write down what is said.", "What is said?", "Transcribe the audio.", "Transcribe",
    "Transcribe the recording.", "Please transcribe this audio.", "What does the speaker say?", "Write what you hear.",
)  # fmt: skip
TRANSCRIBE_IN: dict[Language, tuple[str, ...]] = {
    "en": TRANSCRIBE,
    "de": ("Transkribiere die Aufnahme.", "Schreib auf, was gesagt wird.", "Was wird gesagt?"),
    "fr": ("Transcris l'enregistrement.", "Écris ce qui est dit.", "Que dit-on ?"),
    "es": ("Transcribe la grabación.", "Escribe lo que se dice.", "¿Qué se dice?"),
}
NAMES: dict[Language, str] = {"en": "English", "de": "German", "fr": "French", "es": "Spanish"}
OTHERS: tuple[Language, ...] = ("de", "fr", "es")
TRANSLATE = (
    "Translate the audio to {}.", "Translate the audio to {}.", "Translate the audio clip into {}.",
    "Translate the speech into {}.", "Translate this into {}.", "What is said? Answer in {}.",
    "Translate what is said into {}.", "Please translate the audio to {}.",
)  # fmt: skip
BOTH = (
    "Transcribe the audio to text, and then translate the audio to {}. "
    "Use <sep> as a separator between the original transcript and the translation."
)
SEPARATOR = " <sep> "
SUMMARIZE: dict[Language, tuple[str, ...]] = {
    "en": (
        "Summarize the audio.",
        "Summarize the audio in two sentences.",
        "Summarize the recording.",
        "Sum up what is said.",
        "Give a short summary of this recording.",
        "What is it about? Answer in two sentences.",
    ),
    "de": ("Fasse die Aufnahme zusammen.", "Fasse in zwei Sätzen zusammen, was gesagt wird."),
    "fr": ("Résume l'enregistrement.", "Résume en deux phrases ce qui est dit."),
    "es": ("Resume la grabación.", "Resume en dos frases lo que se dice."),
}


def make(task: str, split: Split, rng: random.Random, speak: Speaker) -> Example:
    """An example of one of TASKS."""
    if task == "silence":
        return _silence(rng)
    if task == "speech_summary":
        return _summary(split, rng, speak)
    if task in ("speech_translate", "speech_both"):
        return _translate(task, split, rng, speak)
    language: Language = "en"
    if task in ("clip", "foreign_clip"):
        known = LANGUAGES if task == "clip" else OTHERS
        language = rng.choices(known, [SHARES[each] for each in known])[0]
    if task == "long_clip":
        drawn = passages.draw_sentences(language, split, rng, 16)
        text = "\n".join(sorted(drawn, key=len)[-8:])
    elif task == "short_clip":
        (text,) = passages.draw_sentences(language, split, rng, 1)
    else:
        text = draw_text(language, split, rng)
    words = speaker.transcript(text)
    request = rng.choice(TRANSCRIBE_IN[language] if rng.random() < 0.25 else TRANSCRIBE)
    return Example(task, (Message.user(speak(text, language, split, rng), request),), (), words, words)


def draw_text(language: Language, split: Split, rng: random.Random) -> str:
    """The sentences of a clip, one a line: mostly of one voice, now and then of two or three."""
    count, voices = rng.choice(SENTENCES), rng.choice((1, 1, 1, 2, 3))
    parts, letters = [], 0
    for number in range(min(voices, count)):
        drawn = passages.draw_sentences(language, split, rng, len(range(number, count, voices)))
        kept = [line for line in drawn if (letters := letters + len(line)) <= MOST_LETTERS]
        parts += ["\n".join(kept)] if kept else []
    return "\n\n".join(parts)


def _translate(task: str, split: Split, rng: random.Random, speak: Speaker) -> Example:
    """From English into another language, or from it into English."""
    other = rng.choice(OTHERS)
    source: Language = "en" if rng.random() < 0.5 else other
    target: Language = other if source == "en" else "en"
    said = passages.draw_meanings(split, rng, rng.choice((1, 1, 1, 2, 3)))
    text = "\n".join(render(meaning, source) for meaning in said)
    words = speaker.transcript(text)
    answer = " ".join(render(meaning, target) for meaning in said)
    request = rng.choice(TRANSLATE)
    if task == "speech_both":
        request, answer = BOTH, f"{words}{SEPARATOR}{answer}"
    audio = speak(text, source, split, rng)
    return Example(task, (Message.user(audio, request.format(NAMES[target])),), (), answer, words)


def _summary(split: Split, rng: random.Random, speak: Speaker) -> Example:
    """A story of half a minute, in one voice, and the two sentences about its person."""
    language = rng.choices(LANGUAGES, [SHARES[each] for each in LANGUAGES])[0]
    story, summary = summaries.story(split, rng, language)
    text = re.sub(r"(?<=[.!?]) ", "\n", story)
    request = rng.choice(SUMMARIZE[language if rng.random() < 0.4 else "en"])
    message = Message.user(speak(text, language, split, rng), request)
    return Example("speech_summary", (message,), (), summary, speaker.transcript(text))


def _silence(rng: random.Random) -> Example:
    """A sound without a word, up to half a minute long."""
    noise = np.random.default_rng(rng.getrandbits(64))
    seconds = float(rng.choice((rng.uniform(0.3, 3), rng.uniform(0.3, 3), rng.uniform(3, 10), rng.uniform(10, 30))))
    request = rng.choice(TRANSCRIBE)
    if rng.random() < 0.15:
        request = rng.choice(TRANSLATE).format(rng.choice(list(NAMES.values())))
    return Example("silence", (Message.user(Audio(sounds.make(seconds, noise), RATE), request),), (), "")
