"""Requests that must be refused, and innocent ones that look like them, in four languages.

A harmful request gets one honest sentence; who wants to harm himself gets a kind one that points to help. An innocent
look-alike keeps its usual answer. `rejected` is a vague start of complying, or the refusal of what is innocent.
"""

from __future__ import annotations

import json
import random

from phi4mm.nano.synth import actions, dialogue
from phi4mm.nano.synth.example import LANGUAGES, Example, Language, Speaker
from phi4mm.nano.synth.harm import (
    AGAINST_PEOPLE,
    AGAINST_THINGS,
    ASKING,
    DEEDS,
    EVIL,
    HARMLESS,
    HARMS,
    INNOCENT,
    SELF_HARM,
    STEALING,
)
from phi4mm.nano.synth.language import phrases
from phi4mm.nano.synth.language.grammar import GRAMMARS
from phi4mm.nano.synth.language.meaning import Phrase
from phi4mm.nano.synth.outside import OUTSIDE
from phi4mm.nano.synth.split import Split, draw
from phi4mm.protocol.messages import Message, Tool

TASKS = ("refusal", "innocent")
REFUSALS: dict[Language, str] = {
    "en": "I cannot help with that.",
    "de": "Dabei kann ich nicht helfen.",
    "fr": "Je ne peux pas aider à cela.",
    "es": "No puedo ayudar con eso.",
}
CARE: dict[Language, str] = {
    "en": "I am sorry that you feel this way. Please talk to someone you trust or call an emergency number.",
    "de": "Es tut mir leid, dass es dir so geht. Bitte sprich mit jemandem, dem du vertraust, oder ruf den Notruf an.",
    "fr": "Je suis désolé que tu te sentes ainsi. Parle à quelqu'un de confiance ou appelle un numéro d'urgence.",
    "es": "Siento que te sientas así. Habla con alguien de confianza o llama a un número de emergencia.",
}
COMPLYING: dict[Language, str] = {
    "en": "Sure, here is how.", "de": "Klar, so geht das.", "fr": "Bien sûr, voici comment.",
    "es": "Claro, así se hace.",
}  # fmt: skip
PEOPLE, BELONGINGS, LARGE = ("person", "family"), ("vehicle", "clothes", "thing"), ("vehicle", "building")


def make(task: str, split: Split, rng: random.Random, _speak: Speaker) -> Example:
    """A request of `split`, typed, and its answer."""
    if task == "innocent" and rng.random() < 0.15:
        return _innocent_call(split, rng)
    text, answer, rejected, _ = (harmful if task == "refusal" else innocent)(split, rng)
    told = (Message.system(rng.choice(dialogue.SYSTEM)),) if rng.random() < 0.3 else ()
    tools: tuple[Tool, ...] = ()
    if task == "refusal" and rng.random() < 0.15:
        tools = (actions.make_offer(rng).tool,)
    return Example(task, (*told, Message.user(text)), tools, answer, rejected=rejected)


def harmful(split: Split, rng: random.Random) -> tuple[str, str, str, Language]:
    """A harmful request, the refusal, a start of complying, and the language."""
    language: Language = rng.choice(("en", "en", *LANGUAGES))

    def make(rng: random.Random) -> tuple[str, bool]:
        style = rng.random()
        if style < 0.1:
            return rng.choice(SELF_HARM[language]), True
        if style < 0.5:
            return _ask(rng.choice(HARMS)[LANGUAGES.index(language)], language, rng, EVIL[language]), False
        kinds: tuple[str, ...] = PEOPLE if style < 0.8 else LARGE if style < 0.9 else BELONGINGS
        table = AGAINST_PEOPLE if style < 0.8 else AGAINST_THINGS if style < 0.9 else STEALING
        return _ask(_deed(table, kinds, language, rng), language, rng, EVIL[language]), False

    text, self_harm = draw(split, rng, make, lambda drawn: ("harm", drawn[0]))
    return text, (CARE if self_harm else REFUSALS)[language], COMPLYING[language], language


def innocent(split: Split, rng: random.Random) -> tuple[str, str, str, Language]:
    """An innocent request that looks harmful, its usual answer, the refusal it must not get, and the language."""
    language: Language = rng.choice(("en", "en", *LANGUAGES))

    def make(rng: random.Random) -> str:
        if rng.random() < 0.7:
            return _ask(rng.choice(INNOCENT)[LANGUAGES.index(language)], language, rng)
        return _ask(_deed(HARMLESS, PEOPLE, language, rng), language, rng)

    text = draw(split, rng, make, lambda drawn: ("innocent", drawn))
    return text, OUTSIDE[language], REFUSALS[language], language


def _innocent_call(split: Split, rng: random.Random) -> Example:
    """A request that a declared tool fits, though it sounds harmful."""

    def make(rng: random.Random) -> actions.Offer:
        return actions.natural_offer(rng, *rng.choice(DEEDS))

    offer = draw(split, rng, make, lambda offer: ("innocent", offer.request))
    answer = f"functools{json.dumps([offer.call()], ensure_ascii=False)}"
    return Example("innocent", (Message.user(offer.request),), (offer.tool,), answer, rejected=REFUSALS["en"])


def _ask(deed: str, language: Language, rng: random.Random, more: tuple[str, ...] = ()) -> str:
    """A request for a deed; `more` are further forms."""
    text = rng.choice((*ASKING[language], *more)).format(deed)
    return GRAMMARS[language].finish(text)


def _deed(table: list[list[str]], kinds: tuple[str, ...], language: Language, rng: random.Random) -> str:
    """A verb with somebody or something: `poison my neighbor`, `meinen Nachbarn vergiften`."""
    verb = rng.choice(table)[LANGUAGES.index(language)]
    target = phrases.noun(rng, kinds, ("the", "a", "my", "this"), plain=True)
    return f"{words_of(target, language)} {verb}" if language == "de" else f"{verb} {words_of(target, language)}"


def words_of(phrase: Phrase, language: Language) -> str:
    """A noun phrase as an object."""
    grammar = GRAMMARS[language]
    if language == "de":
        return grammar.finish(grammar.phrase(phrase, "accusative"))
    text = grammar.phrase(phrase)
    if language == "es" and phrase.kind in PEOPLE:
        text = f"a {text}"
    return grammar.finish(text)
