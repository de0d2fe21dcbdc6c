"""Draws meanings: who does what to whom, where and when, so that it makes everyday sense."""

from __future__ import annotations

import random
import re
from typing import get_args

from phi4mm.nano.synth.language.meaning import (
    MEN,
    WOMEN,
    Clause,
    Determiner,
    Meaning,
    Modal,
    Phrase,
    Place,
    Saying,
    Sentence,
    Tense,
)
from phi4mm.nano.synth.language.phrases import ADJECTIVES_OF, BY_KIND, adjective_of, noun, object_of, subject
from phi4mm.nano.synth.language.tables import (
    CITIES,
    DAYS,
    FREQUENCIES,
    FUTURE,
    LANGUAGE_NAMES,
    MONTHS,
    PAST,
    PRESENT,
    SAYINGS,
    WEATHER,
)
from phi4mm.nano.synth.language.verbs import VERBS

NUMBERS = [number for number in range(2, 51) if number % 10 != 1]  # un, veintiún, einundzwanzig bend
STATIVE = ("have", "know", "love", "understand")
GOODS = ("food", "drink", "dish", "thing", "clothes", "box")
PLAIN = [verb for verb, known in VERBS.items() if known.objects and verb not in ("cost", "want")]
ALONE = ("sleep", "work", "sing", "dance", "swim", "play", "cry", "laugh", "wait")
COMMANDS = (
    "open", "close", "clean", "wash", "bring", "buy", "read", "write", "look for", "take", "eat", "drink", "paint",
    "draw", "count", "cook", "cut", "find", "sell",
)  # fmt: skip
INSIDE = ("room", "building", "box", "vehicle")
UPON = ("furniture", "outdoors")
BESIDE = ("building", "furniture", "outdoors", "vehicle", "door")


def compose(rng: random.Random) -> Meaning:
    """A meaning, of any form."""
    style = rng.random()
    if style < 0.1:
        return _saying(rng)
    if style < 0.14:
        return _weather(rng)
    if style < 0.24:
        joined = rng.choice(("and", "but", "because"))
        if joined == "because":
            return Sentence((_action(rng, short=True), _feeling(rng)), joined)
        return Sentence((_statement(rng, short=True), _statement(rng, short=True)), joined)
    if style < 0.7:
        return Sentence((_statement(rng),))
    return Sentence((_question(rng) if style < 0.88 else _command(rng),))


def _saying(rng: random.Random) -> Saying:
    english = rng.choice(list(SAYINGS))
    hour, number, more = rng.randint(2, 11), rng.choice(NUMBERS), rng.choice(NUMBERS)
    values = {
        "name": rng.choice((*MEN, *WOMEN)), "number": number, "more": more, "sum": number + more, "hour": hour,
        "next": hour + 1, "day": rng.choice(list(DAYS)), "month": rng.choice(list(MONTHS)),
        "city": rng.choice(list(CITIES)), "language": rng.choice(list(LANGUAGE_NAMES)),
    }  # fmt: skip
    return Saying(english, tuple((gap, str(values[gap])) for gap in _gaps(english)))


def _gaps(english: str) -> list[str]:
    """The names of a saying's gaps; half past needs the next hour too, in German."""
    return [*re.findall(r"\{(\w+)\}", english), *(["next"] if "half past" in english else [])]


def _weather(rng: random.Random) -> Saying:
    when = rng.choice(("now", "today", "in the morning", "at night", "in winter", "in spring"))
    return Saying(rng.choice(list(WEATHER)), (("when", when), ("where", rng.choice(("", "", *CITIES)))))


def _statement(rng: random.Random, *, short: bool = False) -> Clause:
    style = rng.random()
    if style < 0.5:
        return _action(rng, short)
    if style < 0.68:
        return _quality(rng, short)
    if style < 0.78:
        return _location(rng)
    if style < 0.84 and not short:
        return _existence(rng)
    if style < 0.88:
        thing = noun(rng, GOODS, ("the", "this"))
        return Clause(
            "say", thing, "cost", object=Phrase("euro", "number", rng.choice((*range(2, 13), 20, 30, 50, 100)))
        )
    return _motion(rng)


def _action(rng: random.Random, short: bool) -> Clause:
    verb = rng.choice(PLAIN) if rng.random() < 0.75 else rng.choice(ALONE)
    thing = object_of(verb, rng)
    modal: Modal = rng.choice(("", "", "", "want", "can", "must")) if verb not in STATIVE else ""
    tense = _tense(rng) if not modal else "present"
    negated = rng.random() < 0.17 and modal != "must" and not (thing and thing.determiner == "number")
    stative = verb in STATIVE
    time = _time(tense, rng, 0.0 if stative else 0.15 if short else 0.4)
    frequency = ""
    if tense == "present" and not (modal or time or negated) and rng.random() < 0.2:
        frequency = rng.choice(list(FREQUENCIES))
    place = None
    if not (negated or stative) and rng.random() < (0.1 if short else 0.3):
        place = _scene(rng, thing) if verb in ALONE or rng.random() < 0.6 else _partner(rng)
    return Clause("say", subject(rng, verb), verb, tense, negated, thing, "", place, time, frequency, modal)


def past(rng: random.Random, who: Phrase) -> Clause:
    """What somebody did, went to or bought, and when."""
    if rng.random() < 0.3:
        place = Place("to", noun(rng, ("building", "place"), ("the",), plain=True))
        return Clause("say", who, "go", "past", place=place, time=_time("past", rng, 1.0))
    verb = rng.choice([verb for verb in PLAIN if verb not in STATIVE])
    return Clause("say", who, verb, "past", object=object_of(verb, rng), time=_time("past", rng, 1.0))


def _quality(rng: random.Random, short: bool) -> Clause:
    who = (
        subject(rng)
        if rng.random() < 0.45
        else noun(rng, tuple(ADJECTIVES_OF), ("the", "my", "your", "this", "our"), plain=True)
    )
    if who.kind in ("person", "family"):
        kinds: tuple[str, ...] = ("feeling", "feeling", "person")
    else:
        kinds = ADJECTIVES_OF[who.kind]
    tense: Tense = rng.choice(("present", "present", "past", "future")) if kinds[0] == "feeling" else "present"
    time = _time(tense, rng, 0.2 if not short else 0.0) if kinds[0] == "feeling" else ""
    adjective = adjective_of(kinds, who.kind, rng)
    return Clause("say", who, tense=tense, negated=rng.random() < 0.2, adjective=adjective, time=time)


def _feeling(rng: random.Random) -> Clause:
    adjective = adjective_of(("feeling",), "person", rng)
    return Clause("say", subject(rng), negated=rng.random() < 0.2, adjective=adjective)


def _location(rng: random.Random) -> Clause:
    things = ("animal", "thing", "text", "dish", "clothes", "box", "person", "family")
    who = noun(rng, things, ("the", "my", "your", "our"), plain=True)
    tense: Tense = rng.choice(("present", "present", "present", "past"))
    time = _time(tense, rng, 0.0)
    return Clause("say", who, tense=tense, negated=rng.random() < 0.15, place=_where(rng, who), time=time)


def _existence(rng: random.Random) -> Clause:
    negated = rng.random() < 0.25
    determiners: tuple[Determiner, ...] = ("",) if negated else ("a", "number", "")
    who = noun(rng, ("animal", "thing", "dish", "person", "box", "furniture", "drink", "food"), determiners)
    return Clause("there", who, negated=negated, place=_where(rng, who))


def _motion(rng: random.Random) -> Clause:
    verb = rng.choice(("go", "go", "go", "travel", "come", "live"))
    if verb == "live":
        return Clause("say", subject(rng), "live", place=Place("in", Phrase(rng.choice(list(CITIES)), "city")))
    tense = _tense(rng)
    city = verb == "travel" or (verb == "come" and rng.random() < 0.4)
    target = (
        Phrase(rng.choice(list(CITIES)), "city") if city else noun(rng, ("building", "place"), ("the",), plain=True)
    )
    place = Place("from" if verb == "come" else "to", target)
    modal: Modal = rng.choice(("", "", "want", "must")) if tense == "present" else ""
    return Clause("say", subject(rng), verb, tense, place=place, time=_time(tense, rng, 0.5), modal=modal)


def _question(rng: random.Random) -> Clause:
    style = rng.randrange(9)
    if style == 0:
        who = noun(
            rng, ("thing", "animal", "box", "text", "place", "building", "family"), ("the", "my", "your"), plain=True
        )
        return Clause("where", who)
    if style == 1:
        return Clause("where", subject(rng), rng.choice(("live", "work", "sleep", "wait", "play", "swim")))
    if style == 2:
        return Clause(
            "what", subject(rng), rng.choice(("buy", "eat", "drink", "see", "read", "write", "draw", "cook", "sell"))
        )
    if style == 3:
        verb = rng.choice(PLAIN)
        return Clause("who", Phrase("he", "pronoun"), verb, object=object_of(verb, rng))
    if style == 4:
        return Clause("when", noun(rng, ("event",), ("the", "your", "our"), plain=True), "begin")
    if style == 5:
        return Clause("how much", noun(rng, GOODS, ("the", "this")), "cost")
    if style == 6:
        return Clause("why", subject(rng), adjective=adjective_of(("feeling",), "person", rng))
    if style == 7:
        who = noun(rng, ("food", "drink", "door", "box", "thing"), ("the", "my", "this", "your"), plain=True)
        return Clause("ask", who, adjective=adjective_of(ADJECTIVES_OF[who.kind], who.kind, rng))
    verb = rng.choice((*PLAIN, *ALONE))
    modal: Modal = rng.choice(("", "", "can", "want")) if verb not in STATIVE else ""
    tense = _tense(rng) if not modal else "present"
    time = _time(tense, rng, 0.0 if verb in STATIVE else 0.3)
    return Clause("ask", subject(rng, verb), verb, tense, object=object_of(verb, rng), time=time, modal=modal)


def _command(rng: random.Random) -> Clause:
    verb = rng.choice((*COMMANDS, "wait", "come", "sing"))
    thing = object_of(verb, rng) if VERBS[verb].objects else None
    place = Place("to", noun(rng, ("place", "building"), ("the",), plain=True)) if verb == "come" else None
    time = rng.choice(("", "", "now", "today", "tomorrow", "tonight"))
    return Clause("do", Phrase("you", "pronoun"), verb, object=thing, place=place, time=time, please=rng.random() < 0.4)


def _where(rng: random.Random, who: Phrase) -> Place:
    while True:
        person = who.kind in ("person", "family")
        preposition = rng.choice(("in", "in", "behind", "in front of", "next to", *(() if person else ("on", "under"))))
        kinds = INSIDE if preposition == "in" else UPON if preposition in ("on", "under") else BESIDE
        where = noun(rng, kinds, ("the",), plain=True)
        if where.noun != who.noun and where.count == 1:
            return Place(preposition, where)


def _scene(rng: random.Random, thing: Phrase | None) -> Place:
    """In a city, or in a room or building; what is itself a place is only in a city."""
    if rng.random() < 0.3 or (thing is not None and thing.kind in ("room", "building", "place", "outdoors")):
        return Place("in", Phrase(rng.choice(list(CITIES)), "city"))
    return Place("in", Phrase(rng.choice((*BY_KIND["room"], *BY_KIND["building"])), "the"))


def _partner(rng: random.Random) -> Place:
    return Place(rng.choice(("with", "for")), noun(rng, ("family",), ("my", "your", "our"), plain=True))


def _tense(rng: random.Random) -> Tense:
    return rng.choice((*get_args(Tense), "present"))


def _time(tense: Tense, rng: random.Random, share: float) -> str:
    """A time that goes with a tense; the past always has one: some verbs look alike in past and present."""
    if tense == "past":
        return rng.choice(list(PAST))
    if rng.random() >= share:
        return ""
    if tense == "future":
        return f"at {rng.randint(2, 12)}" if rng.random() < 0.2 else rng.choice(list(FUTURE))
    return rng.choice(list(PRESENT))
