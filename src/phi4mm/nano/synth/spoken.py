"""Spoken requests: tool calls, words to repeat, first words, facts, pictures, harm and what sounds like harm."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from phi4mm.nano.synth import (
    dialogue,
    film,
    first_words,
    knowledge,
    outside,
    pictures,
    questions,
    refusals,
    scenes,
    sentences,
    signs,
    speaker,
    tools,
)
from phi4mm.nano.synth.commands import make_command
from phi4mm.nano.synth.example import LANGUAGES, Example, Language, Speaker
from phi4mm.nano.synth.language.grammar import render, sentence
from phi4mm.nano.synth.sayable import sayable
from phi4mm.nano.synth.skills import NAMES
from phi4mm.nano.synth.split import Split, draw
from phi4mm.protocol.messages import Image, Message, Tool

TASKS = ("spoken_tool", "spoken_copy", "spoken_first", "spoken_picture", "spoken_refusal", "spoken_innocent")
WORDS_AFTER = (
    "Say {}.", "Please say {}.", "Repeat {}.", "Repeat after me, {}.", "Can you say {}?", "Write {}.",
    "Please repeat {}.", "Say the words {}.",
)  # fmt: skip
SENTENCE_AFTER: dict[Language, tuple[str, ...]] = {
    "en": ("Repeat after me.", "Please repeat.", "Repeat this sentence.", "Say this sentence."),
    "de": ("Sprich mir nach.", "Wiederhole diesen Satz.", "Bitte sag diesen Satz."),
    "fr": ("Répète après moi.", "Répète cette phrase.", "Dis cette phrase, s'il te plaît."),
    "es": ("Repite después de mí.", "Repite esta frase.", "Di esta frase, por favor."),
}
WORDS = (
    *sentences.CITIES, *sentences.PEOPLE, *sentences.ANIMALS, *sentences.FOODS, *sentences.THINGS, *sentences.PLACES,
    *sentences.VEHICLES, *sentences.ROOMS, *sentences.COLORS, *sentences.QUALITIES, *sentences.FEELINGS,
    *sentences.NUMBERS, *sentences.PLURALS, *dialogue.DAYS, *NAMES,
)  # fmt: skip


def make(task: str, split: Split, rng: random.Random, speak: Speaker) -> Example:
    """An example of one of TASKS."""
    if task == "spoken_tool":
        return _tool(split, rng, speak)
    if task == "spoken_copy":
        return _copy(split, rng, speak)
    if task == "spoken_picture":
        return _picture(split, rng, speak)
    if task == "spoken_first":
        return hear(task, *_first(split, rng), split, rng, speak)
    make = refusals.harmful if task == "spoken_refusal" else refusals.innocent
    request, answer, rejected, language = make(split, rng)
    return hear(task, request, answer, language, split, rng, speak, rejected=rejected)


def hear(
    task: str,
    request: str,
    answer: str,
    language: Language,
    split: Split,
    rng: random.Random,
    speak: Speaker,
    declared: tuple[Tool, ...] = (),
    rejected: str = "",
) -> Example:
    """An example whose `request` is spoken, line by line, after a system message in a third of the cases."""
    text = sayable(request, language)
    system = (Message.system(rng.choice(dialogue.SYSTEM)),) if rng.random() < 1 / 3 else ()
    message = Message.user(speak(text, language, split, rng))
    return Example(task, (*system, message), declared, answer, speaker.transcript(text), rejected=rejected)


def _first(split: Split, rng: random.Random) -> tuple[str, str, Language]:
    """A greeting, a question about nano, a fact, or a question outside its world; its answer; and its language."""
    kind = rng.random()
    if kind < 0.4:
        return first_words.spoken_opening(split, rng)
    if kind < 0.7:
        question, language = outside.outside(split, rng, spoken=True)
        return question, outside.OUTSIDE[language], language
    question, answer = knowledge.fact(split, rng, spoken=True)
    return question, answer, _language_of(question)


def _language_of(question: str) -> Language:
    """The language of a fact's question: days and sums are asked in all four, everything else in English."""
    for language in LANGUAGES:
        patterns = (*knowledge.NEXT_DAY[language], knowledge.SUM_WORDS[language])
        if any(question.startswith(pattern.partition("{")[0]) for pattern in patterns):
            return language
    return "en"


def _tool(split: Split, rng: random.Random, speak: Speaker) -> Example:
    """A request for a declared tool, in one of four in any language; in one of eight cases no declared tool fits."""
    if rng.random() < 0.25:
        offer = draw(split, rng, make_command, lambda offer: ("call", offer.request))
    else:
        offer = tools.draw_offer(split, rng, spoken=True)
    declared, answer = tools.declared(offer, rng), tools.calls(offer)
    if rng.random() < 1 / 8 and len(declared) > 1:
        declared, answer = tuple(tool for tool in declared if tool != offer.tool), tools.NO_TOOLS[offer.language]
    return hear("spoken_tool", offer.request, answer, offer.language, split, rng, speak, declared)


def _copy(split: Split, rng: random.Random, speak: Speaker) -> Example:
    """A request to repeat one to five English words, or a sentence of any language."""
    if rng.random() < 0.5:
        words = draw(split, rng, _words, lambda text: ("copy", text))
        return hear("spoken_copy", rng.choice(WORDS_AFTER).format(words), words, "en", split, rng, speak)
    language = rng.choice(LANGUAGES)
    copied = render(sentence(split, rng), language)
    return hear("spoken_copy", f"{rng.choice(SENTENCE_AFTER[language])}\n{copied}", copied, language, split, rng, speak)


def _words(rng: random.Random) -> str:
    return " ".join(rng.sample(WORDS, rng.choice((1, 2, 2, 3, 3, 4, 5))))


def _picture(split: Split, rng: random.Random, speak: Speaker) -> Example:
    """One picture or several, with their question spoken."""
    kind = rng.choices(tuple(PICTURES), [share for share, _ in PICTURES.values()])[0]
    typed = PICTURES[kind][1](kind, split, rng, speak)
    *shown, question = typed.messages[-1].parts
    words = sayable(str(question), "en")
    message = Message.user(*shown, speak(words, "en", split, rng))
    return Example("spoken_picture", (message,), (), typed.answer, words, typed.shown)


def _sign(_task: str, split: Split, rng: random.Random, _speak: Speaker) -> Example:
    sign, backdrop = signs.make_sign(split, rng)
    picture = Image(np.asarray(signs.draw_sign(sign, backdrop, rng)))
    question, answer = questions.ask_sign(sign, rng)
    return Example("sign", (Message.user(picture, question),), (), answer, shown=sign.name)


# How often a spoken question is about which pictures, and what makes them with the question typed.
PICTURES: dict[str, tuple[int, Callable[[str, Split, random.Random, Speaker], Example]]] = {
    "scenes": (12, scenes.make),
    "strange": (1, scenes.make),
    "sign": (2, _sign),
    "pictures": (2, pictures.make),
    "difference": (1, pictures.make),
    "film": (2, film.make),
}
