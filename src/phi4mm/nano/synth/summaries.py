"""Summaries of two sentences. A text tells of one person, whom its first sentence names, among other things.

The rule: the summary is the two sentences that say what this person did, word for word and in their order.
"""

from __future__ import annotations

import random

from phi4mm.nano.synth.example import LANGUAGES, Example, Language, Speaker
from phi4mm.nano.synth.language import composition, french
from phi4mm.nano.synth.language.grammar import render, sentence
from phi4mm.nano.synth.language.meaning import MEN, WOMEN, Clause, Meaning, Phrase, Sentence
from phi4mm.nano.synth.split import Split, draw
from phi4mm.protocol.messages import Message

TASKS = ("summary",)
LONGEST = 10  # words of a sentence
ABOUT: dict[Language, tuple[str, ...]] = {
    "en": ("This is a story about {}.", "Let me tell you about {}.", "Today we talk about {}."),
    "de": ("Das ist eine Geschichte über {}.", "Ich erzähle von {}.", "Heute sprechen wir über {}."),
    "fr": ("C'est une histoire sur {}.", "Je vais parler de {}.", "Aujourd'hui, nous parlons de {}."),
    "es": ("Esta es una historia sobre {}.", "Voy a hablar de {}.", "Hoy hablamos de {}."),
}
ASKING: dict[Language, tuple[str, ...]] = {
    "en": (
        "Summarize this text in two sentences.\n\n{}", "{}\n\nSummarize the text in two sentences.",
        "Give a short summary: {}", "Summarize: {}", "{}\n\nSummary in two sentences:",
        "Write a two-sentence summary.\n\n{}",
    ),
    "de": ("Fasse den Text in zwei Sätzen zusammen.\n\n{}", "{}\n\nFasse das in zwei Sätzen zusammen."),
    "fr": ("Résume ce texte en deux phrases.\n\n{}", "{}\n\nRésume le texte en deux phrases."),
    "es": ("Resume este texto en dos frases.\n\n{}", "{}\n\nResume el texto en dos frases."),
}  # fmt: skip


def make(task: str, split: Split, rng: random.Random, _speak: Speaker) -> Example:
    """A text of `split` and its summary."""
    language: Language = rng.choice(("en", "en", *LANGUAGES))
    text, summary = story(split, rng, language)
    asked = rng.choice(ASKING[language if rng.random() < 0.6 else "en"])
    return Example(task, (Message.user(asked.format(text)),), (), summary)


def story(split: Split, rng: random.Random, language: Language) -> tuple[str, str]:
    """A text of 6 to 10 sentences in a language, and its summary, which belongs to `split`."""
    person = Phrase(rng.choice((*MEN, *WOMEN)), "name")

    def make(rng: random.Random) -> tuple[Meaning, Meaning]:
        return _deed(split, person, rng), _deed(split, person, rng)

    def key(deeds: tuple[Meaning, Meaning]) -> tuple[str, ...]:
        return ("summary", *(render(deed, "en") for deed in deeds))

    deeds = draw(split, rng, make, key)
    others = [_other(split, person, rng) for _ in range(rng.randint(3, 7))]
    first, second = sorted(rng.sample(range(len(others) + 2), 2))
    rest = iter(others)
    told = [deeds[(first, second).index(at)] if at in (first, second) else next(rest) for at in range(len(others) + 2)]
    about = rng.choice(ABOUT[language]).format(person.noun)
    about = french.finish(about) if language == "fr" else about
    summary = " ".join(render(deed, language) for deed in deeds)
    return " ".join((about, *(render(line, language) for line in told))), summary


def _deed(split: Split, person: Phrase, rng: random.Random) -> Meaning:
    """What the person did: a sentence of `split`."""

    def make(rng: random.Random) -> Meaning:
        while True:
            clause = composition.past(rng, person)
            if len(render(Sentence((clause,)), "en").split()) <= LONGEST:
                return Sentence((clause,))

    return draw(split, rng, make, lambda deed: ("sentence", render(deed, "en")))


def _other(split: Split, person: Phrase, rng: random.Random) -> Meaning:
    """A sentence of `split` without the person: a quality, a place, the weather, what others do."""
    while True:
        meaning = sentence(split, rng, LONGEST)
        said = meaning.clauses if isinstance(meaning, Sentence) else ()
        if said and all(_fits(clause, person) for clause in said):
            return meaning


def _fits(clause: Clause, person: Phrase) -> bool:
    return clause.form in ("say", "there") and clause.subject.noun != person.noun
