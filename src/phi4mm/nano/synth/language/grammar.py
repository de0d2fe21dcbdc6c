"""One grammar of English, German, French and Spanish: a sentence is a meaning, and has one form in each language."""

from __future__ import annotations

import random

from phi4mm.nano.synth.example import Language
from phi4mm.nano.synth.language import english, french, german, spanish
from phi4mm.nano.synth.language.composition import compose
from phi4mm.nano.synth.language.meaning import Clause, Meaning, Saying
from phi4mm.nano.synth.language.numerals import in_words
from phi4mm.nano.synth.language.tables import CITIES, DAYS, JOINS, LANGUAGE_NAMES, MONTHS, SAYINGS, TIMES, WEATHER
from phi4mm.nano.synth.split import ALWAYS_TRAINED, Split, draw

GRAMMARS = {"en": english, "de": german, "fr": french, "es": spanish}
QUESTIONS = ("ask", "where", "what", "who", "when", "why", "how much")


def sentence(split: Split, rng: random.Random, words: int = 12) -> Meaning:
    """A meaning of `split`, of at most `words` English words. A saying without gaps is never held out."""

    def make(rng: random.Random) -> tuple[Meaning, str]:
        while True:
            meaning = compose(rng)
            text = render(meaning, "en")
            if len(text.split()) <= words:
                return meaning, text

    def key(drawn: tuple[Meaning, str]) -> tuple[str, ...]:
        fixed = isinstance(drawn[0], Saying) and not drawn[0].gaps
        return ALWAYS_TRAINED if fixed else ("sentence", drawn[1])

    return draw(split, rng, make, key)[0]


def render(meaning: Meaning, language: Language) -> str:
    """The sentence in a language, with its capital letter and the sign at its end."""
    if isinstance(meaning, Saying):
        return _say(meaning, language)
    first, *more = meaning.clauses
    text = " ".join(_words(first, language))
    if more:
        comma = "," if meaning.joined == "but" or (language == "de" and meaning.joined == "because") else ""
        last = language == "de" and meaning.joined == "because"
        words = german.clause(more[0], last=True) if last else _words(more[0], language)
        text = f"{text}{comma} {JOINS[meaning.joined][language]} {' '.join(words)}"
    text = GRAMMARS[language].finish(text).replace(" ,", ",")
    if first.form not in QUESTIONS:
        return f"{_capital(text)}."
    if language == "es":
        return f"¿{_capital(text)}?"
    return f"{_capital(text)}{' ?' if language == 'fr' else '?'}"


def _words(clause: Clause, language: Language) -> list[str]:
    return GRAMMARS[language].clause(clause)


def _say(saying: Saying, language: Language) -> str:
    table = SAYINGS if saying.english in SAYINGS else WEATHER
    return _capital(
        table[saying.english][language]
        .format(**{name: _gap(name, value, language) for name, value in saying.gaps})
        .replace(" .", ".")
        .replace("  ", " ")
        .replace("de Athènes", "d'Athènes")
    )


def _gap(name: str, value: str, language: Language) -> str:
    if name in ("number", "more", "sum", "hour", "next"):
        return in_words(int(value), language)
    if name == "when":
        return TIMES[value][language] if value else ""
    if name == "where":
        at = {"en": "in", "de": "in", "fr": "à", "es": "en"}[language]
        return f" {at} {CITIES[value][language]}" if value else ""
    table = {"city": CITIES, "day": DAYS, "month": MONTHS, "language": LANGUAGE_NAMES}.get(name)
    return value if table is None else table[value][language]


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
