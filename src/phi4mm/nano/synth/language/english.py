"""Meanings as English sentences."""

from __future__ import annotations

import re

from phi4mm.nano.synth.language.meaning import Clause, Phrase, Place
from phi4mm.nano.synth.language.nouns import NOUNS
from phi4mm.nano.synth.language.numerals import in_words
from phi4mm.nano.synth.language.verbs import VERBS

OBJECTS = {"I": "me", "he": "him", "she": "her", "we": "us", "they": "them"}
BE = ("am", "are", "is", "are", "are")
WAS = ("was", "were", "was", "were", "were")


def clause(meant: Clause) -> list[str]:
    """The words of a clause, without a capital letter and the sign at its end."""
    subject = phrase(meant.subject)
    if meant.form == "do":
        return _join("please" if meant.please else "", VERBS[meant.verb].en[0], _rest(meant))
    if meant.form == "there":
        number = "is" if meant.subject.count == 1 else "are"
        return _join("there", number, "no" if meant.negated else "", subject, _place(meant.place))
    auxiliary, verb = _verb(meant)
    negation = "not" if meant.negated else ""
    if auxiliary == "can" and negation:
        auxiliary, negation = "cannot", ""
    if meant.form == "say":
        often = (verb, meant.frequency) if meant.verb == "be" else (meant.frequency, verb)
        return _join(subject, auxiliary, negation, *often, _rest(meant))
    if meant.form == "who":
        return _join("who", _third(meant), _rest(meant))
    if not auxiliary:  # be
        auxiliary, verb = verb, ""
    asked = {"ask": "", "how much": "how much"}.get(meant.form, meant.form)
    return _join(asked, auxiliary, subject, verb, _rest(meant))


def _verb(meant: Clause) -> tuple[str, str]:
    """The auxiliary, and the verb after it."""
    person = meant.subject.person
    helped = meant.negated or meant.form != "say"
    if meant.modal:
        base = "be" if meant.verb == "be" else VERBS[meant.verb].en[0]
        if meant.modal != "want":
            return meant.modal, base
        if helped:
            return ("does" if person == 2 else "do"), f"want to {base}"
        return "", f"{'wants' if person == 2 else 'want'} to {base}"
    if meant.verb == "be":
        if meant.tense == "future":
            return "will", "be"
        form = (BE if meant.tense == "present" else WAS)[person]
        return (form, "") if meant.negated else ("", form)
    base, third, past = VERBS[meant.verb].en
    if meant.tense == "future":
        return "will", base
    if helped:
        return ("did" if meant.tense == "past" else "does" if person == 2 else "do"), base
    return "", past if meant.tense == "past" else third if person == 2 else base


def _third(meant: Clause) -> str:
    if meant.verb == "be":
        return {"past": "was", "present": "is", "future": "will be"}[meant.tense]
    base, third, past = VERBS[meant.verb].en
    return {"past": past, "present": third, "future": f"will {base}"}[meant.tense]


def _rest(meant: Clause) -> str:
    thing = "" if meant.object is None else phrase(meant.object)
    return " ".join(_join(thing, meant.adjective, _place(meant.place), time(meant.time)))


def time(key: str) -> str:
    """The words of a time."""
    return f"at {in_words(int(key[3:]), 'en')} o'clock" if re.fullmatch(r"at \d+", key) else key


def phrase(meant: Phrase) -> str:
    """The words of a noun phrase."""
    if meant.determiner in ("name", "city", "pronoun"):
        return meant.noun
    noun = NOUNS[meant.noun].en
    determiner = in_words(meant.count, "en") if meant.determiner == "number" else meant.determiner
    if determiner == "this" and meant.count != 1:
        determiner = "these"
    return " ".join(_join(determiner, meant.adjective, noun.singular if meant.count == 1 else noun.plural))


def _place(place: Place | None) -> str:
    if place is None:
        return ""
    words = phrase(place.phrase)
    return f"{place.preposition} {OBJECTS.get(words, words)}"


def finish(text: str) -> str:
    """`a apple` becomes `an apple`."""
    return re.sub(r"\ba (?=[aeiou](?!u))", "an ", text)


def _join(*words: str) -> list[str]:
    return [word for word in words if word]
