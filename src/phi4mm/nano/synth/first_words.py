"""The first words of a conversation: greetings, thanks, who it is and what it can do, in any case, sign and spelling.

The answer is in the language of the question. What lies outside its world is in outside.py.
"""

from __future__ import annotations

import random

from phi4mm.nano.synth import dialogue
from phi4mm.nano.synth.example import LANGUAGES, Example, Language, Speaker
from phi4mm.nano.synth.openings import EMPTY, GREETED, OPENINGS, QUESTION_WORDS, WITHOUT_MEDIA, WRITTEN_ONLY
from phi4mm.nano.synth.split import ALWAYS_TRAINED, Split, draw
from phi4mm.protocol.messages import Message

TASKS = ("first_words",)


def make(task: str, split: Split, rng: random.Random, _speak: Speaker) -> Example:
    """A first message and its answer; phrases as they stand above are always trained."""
    text, answer, _ = opening(split, rng)
    told = (Message.system(rng.choice(dialogue.SYSTEM)),) if rng.random() < 0.25 else ()
    return Example(task, (*told, Message.user(text)), (), answer)


def opening(split: Split, rng: random.Random) -> tuple[str, str, Language]:
    """What somebody types first, the answer, and the language; other spellings than the tables' belong to `split`."""
    return draw(split, rng, _opened, lambda drawn: ALWAYS_TRAINED if drawn[0] in KNOWN else ("first", drawn[0]))


def spoken_opening(split: Split, rng: random.Random) -> tuple[str, str, Language]:
    """What somebody says first: the phrases as they are written, the answer and the language."""

    def make(rng: random.Random) -> tuple[str, str, Language]:
        language = rng.choice(LANGUAGES)
        said = rng.choice([each for each in OPENINGS[language] if each.answer not in WITHOUT_MEDIA])
        phrase = rng.choice([each for each in said.phrases if each not in WRITTEN_ONLY])
        greeted = f"{rng.choice(GREETED[language])}, " if said.joins and rng.random() < 0.4 else ""
        return written(f"{greeted}{phrase}", language, said.joins), said.answer, language

    return draw(split, rng, make, lambda drawn: ALWAYS_TRAINED if "," not in drawn[0] else ("said", drawn[0]))


def _opened(rng: random.Random) -> tuple[str, str, Language]:
    if rng.random() < 0.05:
        return rng.choice(EMPTY), "How can I help you?", "en"
    language: Language = rng.choice(("en", "en", *LANGUAGES))
    said = rng.choice(OPENINGS[language])
    phrase = rng.choice(said.phrases)
    if said.joins and rng.random() < 0.25:
        phrase = f"{rng.choice(GREETED[language])}{rng.choice((', ', ' ', '! ', '. '))}{phrase}"
    return _spell(phrase, language, said.joins, rng), said.answer, language


def _spell(phrase: str, language: Language, question: bool, rng: random.Random) -> str:
    """A phrase in some case, with some sign at its end, now and then with a slip of the hand."""
    if rng.random() < 0.12:
        phrase = _slip(phrase, rng)
    style = rng.random()
    if style < 0.4:
        phrase = written(phrase, language, question)
    elif style < 0.5:
        phrase = phrase.upper()
    elif style < 0.6:
        phrase = phrase[0].upper() + phrase[1:]
    ends = ("", "", "", ".", "!", "!!", "?", "...", " :)", " 🙂", "?!", " !", " ?")
    return phrase if style < 0.4 else f"{phrase}{rng.choice(ends)}"


def written(phrase: str, language: Language, question: bool) -> str:
    """A phrase with capital letters and signs as they should be; of a `question` the first word says if it is one."""
    asked = question and phrase.rpartition(", ")[2].split()[0] in QUESTION_WORDS
    text = phrase[0].upper() + phrase[1:]
    text = text.replace(" i ", " I ").replace("nano.", "nano")
    if asked and language == "es":
        head, comma, tail = text.rpartition(", ")
        return f"{head}{comma}¿{tail if comma else tail[0].upper() + tail[1:]}?"
    return text + ((" ?" if language == "fr" else "?") if asked else ".")


def _slip(phrase: str, rng: random.Random) -> str:
    """One letter left out or written twice or thrice, in a longer phrase."""
    places = [at for at in range(1, len(phrase) - 1) if phrase[at - 1 : at + 2].isalpha()]
    if len(phrase) < 5 or not places:
        return phrase
    at = rng.choice(places)
    return phrase[:at] + rng.choice(("", phrase[at] * 2, phrase[at] * 3)) + phrase[at + 1 :]


KNOWN = {
    text
    for language, openings in OPENINGS.items()
    for each in openings
    for phrase in each.phrases
    for text in (phrase, written(phrase, language, each.joins))
} | set(EMPTY)
