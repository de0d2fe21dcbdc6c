"""Tools with requests in four languages: the grammar's commands, `Öffne heute die Tür.` for `open_door`.

Names and descriptions are English, as programs have them; values are copied from the request as they stand in it.
"""

from __future__ import annotations

import random

from phi4mm.nano.synth.actions import Offer, Parameter, declare
from phi4mm.nano.synth.example import LANGUAGES
from phi4mm.nano.synth.language.composition import COMMANDS
from phi4mm.nano.synth.language.grammar import render
from phi4mm.nano.synth.language.meaning import Clause, Phrase, Place, Sentence
from phi4mm.nano.synth.language.phrases import object_of
from phi4mm.nano.synth.language.tables import CITIES, TIMES

VERBS = tuple(verb for verb in COMMANDS if " " not in verb)
DESCRIBING = ("{} {}.", "{} the {}.", "A tool: {} {}.", "")


def make_command(rng: random.Random) -> Offer:
    """A tool for a verb and a noun, and a command in one of the four languages that may name a city and a time."""
    language, verb = rng.choice(LANGUAGES), rng.choice(VERBS)
    drawn = object_of(verb, rng)
    while drawn is None or drawn.kind in ("room", "building", "place"):
        verb = rng.choice(VERBS)
        drawn = object_of(verb, rng)
    noun = drawn.noun
    city, time = rng.choice(list(CITIES)), rng.choice(("today", "tomorrow", "tonight", "now", "on Monday", "on Friday"))
    parameters, arguments = [], {}
    stated: dict[str, str] = {"city": CITIES[city][language], "when": TIMES[time][language]}
    given = [name for name in stated if rng.random() < 0.45]
    for name, value in stated.items():
        if name in given:
            arguments[name] = value
            parameters.append(Parameter(name, "string", (), rng.random() < 0.6))
        elif rng.random() < 0.3:
            parameters.append(Parameter(name, "string", (), False))
    clause = Clause(
        "do",
        Phrase("you", "pronoun"),
        verb,
        object=Phrase(noun, "the"),
        place=Place("in", Phrase(city, "city")) if "city" in given else None,
        time=time if "when" in given else "",
        please=rng.random() < 0.4,
    )
    request = render(Sentence((clause,)), language)
    description = rng.choice(DESCRIBING).format(verb.capitalize(), noun)
    return Offer(
        f"{verb} a {noun}", declare(f"{verb}_{noun}", description, parameters, rng), request, arguments, language
    )
