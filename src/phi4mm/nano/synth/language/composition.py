"""Draws meanings: who does what to whom, where and when, so that it makes everyday sense."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from typing import get_args

from phi4mm.nano.synth.language.adjectives import ADJECTIVES
from phi4mm.nano.synth.language.meaning import (
    MEN,
    PRONOUNS,
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
from phi4mm.nano.synth.language.nouns import NOUNS
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
BY_KIND: dict[str, list[str]] = defaultdict(list)
for _name, _noun in NOUNS.items():
    BY_KIND[_noun.kind].append(_name)
MASS = ("food", "drink")
ADJECTIVES_OF = {
    "person": ("person",), "family": (), "animal": ("size", "color"), "food": ("taste",), "drink": ("taste",),
    "dish": ("taste", "size"), "thing": ("size", "color", "state"), "text": ("text",),
    "clothes": ("size", "color", "state"), "box": ("size", "color", "state", "opening"),
    "door": ("size", "color", "opening"), "furniture": ("size", "color", "state"), "outdoors": ("size",),
    "room": ("size", "state"),
    "building": ("size", "opening"), "place": ("size",), "vehicle": ("size", "color", "state"), "event": ("text",),
}  # fmt: skip
PLURAL_FAMILY = ("brother", "sister", "son", "uncle", "aunt", "friend")
STATIVE = ("have", "know", "love", "understand")
ANIMALS_DO = ("eat", "drink", "see", "hear", "sleep", "play", "wait")
# Adjectives and kinds that do not go together.
STRANGE = {("light", "animal"), ("modern", "animal"), ("new", "animal"), ("expensive", "place"), ("light", "building"),
           ("modern", "place"), ("heavy", "room"), ("light", "room"), ("heavy", "building"), ("long", "animal"),
           ("long", "dish"), ("modern", "dish"), ("empty", "thing"), ("full", "thing"), ("heavy", "place"),
           ("light", "place"), ("full", "clothes"), ("empty", "clothes"), ("broken", "room"), ("new", "place"),
           ("modern", "clothes"), ("wet", "box"), ("broken", "clothes"), ("long", "room"), ("green", "animal"),
           ("blue", "animal"), ("red", "animal"), ("yellow", "animal"), ("heavy", "dish"),
           ("easy", "event"), ("difficult", "event"), ("full", "room"), ("wet", "room"), ("dry", "room"),
           ("heavy", "outdoors"), ("light", "outdoors"), ("modern", "outdoors"), ("expensive", "outdoors"),
           ("dry", "thing"), ("dry", "box"), ("dry", "vehicle"), ("wet", "thing"), ("wet", "furniture"),
           ("full", "furniture"), ("empty", "furniture"), ("dry", "furniture"), ("expensive", "animal"),
           ("new", "dish"), ("expensive", "dish"), ("light", "furniture")}  # fmt: skip
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
        second = _feeling(rng) if joined == "because" else _statement(rng, short=True)
        return Sentence((_statement(rng, short=True), second), joined)
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
    adjective = _adjective(kinds, who.kind, rng)
    return Clause("say", who, tense=tense, negated=rng.random() < 0.2, adjective=adjective, time=time)


def _feeling(rng: random.Random) -> Clause:
    adjective = _adjective(("feeling",), "person", rng)
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
        return Clause("why", subject(rng), adjective=_adjective(("feeling",), "person", rng))
    if style == 7:
        who = noun(rng, ("food", "drink", "door", "box", "thing"), ("the", "my", "this", "your"), plain=True)
        return Clause("ask", who, adjective=_adjective(ADJECTIVES_OF[who.kind], who.kind, rng))
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


def subject(rng: random.Random, verb: str = "") -> Phrase:
    """Somebody who does `verb`: a pronoun, a name, a person, or an animal."""
    style = rng.random()
    if style < 0.45:
        return Phrase(rng.choice(PRONOUNS), "pronoun")
    if style < 0.55:
        return Phrase(rng.choice((*MEN, *WOMEN)), "name")
    if style < 0.75:
        return noun(rng, ("family",), ("my", "your", "our"), plain=True)
    animal = verb in ANIMALS_DO and rng.random() < 0.4
    return noun(rng, ("animal" if animal else "person",), ("the", "the", "this", "number"))


def object_of(verb: str, rng: random.Random) -> Phrase | None:
    """Something that goes with a verb; None for a verb without object."""
    kinds = VERBS[verb].objects
    return noun(rng, kinds, ("the", "the", "a", "", "my", "this", "number", "your", "our")) if kinds else None


def noun(
    rng: random.Random, kinds: tuple[str, ...], determiners: tuple[Determiner, ...], *, plain: bool = False
) -> Phrase:
    """A noun of one of `kinds`; `plain` gives no adjective."""
    kind = rng.choice(kinds)
    name, determiner = rng.choice(BY_KIND[kind]), rng.choice(determiners)
    if kind in MASS and determiner in ("a", "number"):
        determiner = ""
    if kind == "family" and determiner in ("the", "this", "a", "number", ""):
        determiner = rng.choice(("my", "your", "our"))
    same = NOUNS[name].en.singular == NOUNS[name].en.plural
    count = 1
    if determiner == "number":
        count = rng.choice((*range(2, 11), 12, 20))
    elif kind not in MASS and not (determiner == "" and same) and (kind != "family" or name in PLURAL_FAMILY):
        count = 0 if determiner == "" or (determiner != "a" and not same and rng.random() < 0.2) else 1
    elif determiner == "" and same:
        determiner = "the"
    adjective = (
        ""
        if plain or rng.random() < 0.65 or not ADJECTIVES_OF.get(kind)
        else _adjective(ADJECTIVES_OF[kind], kind, rng)
    )
    return Phrase(name, determiner, count, adjective)


def _adjective(kinds: tuple[str, ...], kind: str, rng: random.Random) -> str:
    while True:
        wanted = rng.choice(kinds)
        adjective = rng.choice([name for name, known in ADJECTIVES.items() if known.kind == wanted])
        if (adjective, kind) not in STRANGE:
            return adjective


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


def described(rng: random.Random) -> Phrase:
    """A thing, an animal or a person, with a determiner and often an adjective."""
    return noun(rng, tuple(kind for kind in ADJECTIVES_OF if ADJECTIVES_OF[kind]), ("the", "a", "my", "this", "number"))
