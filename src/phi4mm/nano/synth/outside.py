"""What lies outside nano's world, and the one honest sentence for it, in the language of the question.

History, science, code, news, poems, medicine, people, big sums, other languages, live data, things that do not exist:
many forms of questions with many subjects, so that what was never asked is met the same way. Without tools, requests
for deeds are outside too.
"""

from __future__ import annotations

import random

from phi4mm.nano.synth import dialogue, strings
from phi4mm.nano.synth.actions import natural_offer
from phi4mm.nano.synth.example import LANGUAGES, Example, Language, Speaker
from phi4mm.nano.synth.knowledge import CAPITALS
from phi4mm.nano.synth.language import french
from phi4mm.nano.synth.skills import SKILLS
from phi4mm.nano.synth.split import Split, draw
from phi4mm.nano.synth.subjects import (
    ABOUT,
    CODE,
    COUNTRIES,
    DEEDS,
    OF_COUNTRIES,
    OF_PEOPLE,
    PEOPLE,
    PLAIN,
    PROGRAMS,
    SUBJECTS,
    SUMS,
)
from phi4mm.protocol.messages import Message

TASKS = ("outside",)
OUTSIDE: dict[Language, str] = {
    "en": "That is outside my small world.",
    "de": "Das liegt außerhalb meiner kleinen Welt.",
    "fr": "C'est en dehors de mon petit monde.",
    "es": "Eso está fuera de mi pequeño mundo.",
}


def make(task: str, split: Split, rng: random.Random, _speak: Speaker) -> Example:
    """A question outside the world that belongs to `split`, and the honest sentence."""
    text, language = outside(split, rng)
    told = (Message.system(rng.choice(dialogue.SYSTEM)),) if rng.random() < 0.25 else ()
    return Example(task, (*told, Message.user(text)), (), OUTSIDE[language])


def outside(split: Split, rng: random.Random, *, spoken: bool = False) -> tuple[str, Language]:
    """A question or request of `split` that lies outside, and its language; without digits and code if `spoken`."""

    def make(rng: random.Random) -> tuple[str, Language]:
        style = rng.random()
        if style < 0.42:
            return _about(rng)
        if style < 0.55:
            language: Language = rng.choice(("en", "en", *LANGUAGES))
            return rng.choice(PLAIN[language]), language
        return _special(rng, spoken)

    text, language = draw(split, rng, make, lambda drawn: ("outside", drawn[0].lower().strip("?.! ")))
    return (text if spoken or rng.random() < 0.8 else text.rstrip("?.! ").lower()), language


def _about(rng: random.Random) -> tuple[str, Language]:
    number: int = rng.choice((0, 0, 0, 1, 2, 3))
    language = LANGUAGES[number]
    first, second = (subject[number] for subject in rng.sample(SUBJECTS, 2))
    template = rng.choice(ABOUT[language])
    if language == "de" and not template.startswith(("Was ist", "Wie", "Warum", "Ist")):
        first = first.replace("der ", "den ", 1) if first.startswith("der ") else first  # accusative
    text = template.format(first, second)
    text = french.finish(text) if language == "fr" else text
    return text[0].upper() + text[1:], language


def _special(rng: random.Random, spoken: bool) -> tuple[str, Language]:
    style = rng.randrange(8)
    if style == 0:
        template = rng.choice(OF_PEOPLE)
        name = strings.plain_word(rng).capitalize() if rng.random() < 0.3 and not spoken else rng.choice(PEOPLE)
        return template.format(name), _language_of(template)
    if style == 1:
        return rng.choice(OF_COUNTRIES).format(rng.choice([each for each in COUNTRIES if each not in CAPITALS])), "en"
    if style == 2 and not spoken:
        template = rng.choice(CODE)
        return template.format(rng.choice(PROGRAMS), rng.choice(DEEDS)), "en"
    if style == 3 and not spoken:
        template = rng.choice(SUMS)
        numbers = (rng.randint(101, 10 ** rng.randint(3, 7)) for _ in range(2))
        return template.format(*numbers), _language_of(template)
    if style == 4:
        skill = rng.choice(
            [skill for skill in SKILLS if skill.name != "translate" and isinstance(skill.values[0][0], str)]
        )
        return rng.choice(skill.requests).format(*(rng.choice(values) for values in skill.values)), "en"
    if style == 5:
        return natural_offer(rng, spoken=True).request, "en"
    if style == 6 and not spoken:
        return rng.choice(ABOUT["en"][:12]).format(*[strings.plain_word(rng) for _ in range(2)]), "en"
    return _about(rng)


def _language_of(template: str) -> Language:
    """The language of a template: its first word tells."""
    if template.startswith("¿"):
        return "es"
    first = template.split()[0]
    return (
        "de"
        if template.startswith(("Wer ", "Wann ", "Was ist"))
        else "fr"
        if first in ("Qui", "Quand", "Combien")
        else "en"
    )
