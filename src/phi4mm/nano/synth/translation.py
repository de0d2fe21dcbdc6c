"""Translation of typed sentences and phrases between English and German, French, Spanish, asked in all four."""

from __future__ import annotations

import random

from phi4mm.nano.synth.example import LANGUAGES, Example, Language, Speaker
from phi4mm.nano.synth.language import phrases
from phi4mm.nano.synth.language.grammar import GRAMMARS, render, sentence
from phi4mm.nano.synth.language.meaning import Phrase
from phi4mm.nano.synth.split import Split, draw
from phi4mm.protocol.messages import Message

TASKS = ("translate", "translate_phrase")
NAMES: dict[Language, dict[Language, str]] = {
    "en": {"en": "English", "de": "German", "fr": "French", "es": "Spanish"},
    "de": {"en": "Englische", "de": "Deutsche", "fr": "Französische", "es": "Spanische"},
    "fr": {"en": "anglais", "de": "allemand", "fr": "français", "es": "espagnol"},
    "es": {"en": "inglés", "de": "alemán", "fr": "francés", "es": "español"},
}
REQUESTS: dict[Language, tuple[str, ...]] = {
    "en": (
        "Translate the text to {to}: {text}", "Translate to {to}: {text}", "Translate into {to}: {text}",
        "Translate this to {to}: {text}", "Translate the following into {to}.\n\n{text}",
        "{text}\n\nTranslate to {to}.",
        "Please translate to {to}: {text}", "Translate from {of} to {to}: {text}", 'How do you say "{text}" in {to}?',
        'What is "{text}" in {to}?', "Write this in {to}: {text}", "{text} Translate this into {to}.",
        "in {to}: {text}",
        "Can you translate this into {to}? {text}", "{of}: {text}\n{to}:", "translate to {to}: {text}",
        "Translate the sentence to {to}.\n{text}",
    ),
    "de": (
        "Übersetze ins {to}: {text}", "Bitte übersetze ins {to}: {text}", "Übersetze den Text ins {to}: {text}",
        "{text}\n\nÜbersetze das ins {to}.", "Kannst du das ins {to} übersetzen? {text}",
    ),
    "fr": (
        "Traduis en {to} : {text}", "Traduis ce texte en {to} : {text}", "{text}\n\nTraduis en {to}.",
        "Comment dit-on « {text} » en {to} ?", "Peux-tu traduire ceci en {to} ? {text}",
    ),
    "es": (
        "Traduce al {to}: {text}", "Traduce este texto al {to}: {text}", "{text}\n\nTraduce al {to}.",
        "¿Cómo se dice «{text}» en {to}?", "¿Puedes traducir esto al {to}? {text}",
    ),
}  # fmt: skip
SYSTEM = (
    "Translate everything into {to}.", "Translate what the user writes to {to}.", "You translate into {to}.",
    "Translate every message of the user from {of} to {to}.",
)  # fmt: skip


def make(task: str, split: Split, rng: random.Random, _speak: Speaker) -> Example:
    """An example of one of TASKS; its sentences, or its phrase, belong to `split`."""
    source, target = draw_pair(rng)
    if task == "translate_phrase":
        text, answer = _phrase(split, rng, source, target)
    else:
        meanings = [sentence(split, rng) for _ in range(rng.choice((1, 1, 1, 1, 1, 2, 3)))]
        text, answer = (" ".join(render(meaning, language) for meaning in meanings) for language in (source, target))
        if rng.random() < 0.12:
            told = rng.choice(SYSTEM).format(of=NAMES["en"][source], to=NAMES["en"][target])
            return Example(task, (Message.system(told), Message.user(text)), (), answer)
    return Example(task, (Message.user(_ask(text, source, target, rng)),), (), answer)


def draw_pair(rng: random.Random) -> tuple[Language, Language]:
    """A language and the one to translate it into; one of them is English."""
    other = rng.choice(LANGUAGES[1:])
    return ("en", other) if rng.random() < 0.5 else (other, "en")


def _ask(text: str, source: Language, target: Language, rng: random.Random) -> str:
    """A request in English, or in the language that is not English."""
    asked: Language = "en" if rng.random() < 0.6 else source if source != "en" else target
    names = NAMES[asked]
    return rng.choice(REQUESTS[asked]).format(of=names[source], to=names[target], text=text)


def _phrase(split: Split, rng: random.Random, source: Language, target: Language) -> tuple[str, str]:
    """A noun with its article and an adjective, in both languages."""

    def make(rng: random.Random) -> Phrase:
        while not (drawn := phrases.described(rng)).adjective:
            pass
        return drawn

    drawn = draw(split, rng, make, lambda drawn: ("phrase", _words(drawn, "en")))
    return _words(drawn, source), _words(drawn, target)


def _words(phrase: Phrase, language: Language) -> str:
    grammar = GRAMMARS[language]
    if language == "de":
        return grammar.finish(grammar.phrase(phrase, "nominative"))
    return grammar.finish(grammar.phrase(phrase))
