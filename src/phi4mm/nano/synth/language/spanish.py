"""Meanings as Spanish sentences: agreement, ser and estar, the personal `a`, subjects left out."""

from __future__ import annotations

import re

from phi4mm.nano.synth.language.adjectives import ADJECTIVES
from phi4mm.nano.synth.language.meaning import Clause, Phrase, Place, is_feminine, is_had
from phi4mm.nano.synth.language.nouns import NOUNS
from phi4mm.nano.synth.language.numerals import in_words
from phi4mm.nano.synth.language.tables import CITIES, FREQUENCIES, PREPOSITIONS, TIMES
from phi4mm.nano.synth.language.verbs import VERBS

PRONOUNS = {"I": "", "you": "", "he": "él", "she": "ella", "we": "", "they": "ellos"}
SER = (("soy", "eres", "es", "somos", "son"), ("era", "eras", "era", "éramos", "eran"))
ESTAR = (("estoy", "estás", "está", "estamos", "están"), ("estaba", "estabas", "estaba", "estábamos", "estaban"))
MODALS = {
    "want": ("quiero", "quieres", "quiere", "queremos", "quieren"),
    "can": ("puedo", "puedes", "puede", "podemos", "pueden"),
    "must": ("tengo que", "tienes que", "tiene que", "tenemos que", "tienen que"),
}
COMMANDS = {"come": "ven"}
# Masculine, feminine, and their plurals.
DETERMINERS = {
    "the": ("el", "la", "los", "las"), "a": ("un", "una", "", ""), "this": ("este", "esta", "estos", "estas"),
    "my": ("mi", "mi", "mis", "mis"), "your": ("tu", "tu", "tus", "tus"),
    "our": ("nuestro", "nuestra", "nuestros", "nuestras"), "": ("", "", "", ""),
}  # fmt: skip
ASKED = {"where": "dónde", "what": "qué", "who": "quién", "when": "cuándo", "why": "por qué", "how much": "cuánto"}


def clause(meant: Clause) -> list[str]:
    """The words of a clause, before contraction."""
    if meant.form == "do":
        command = COMMANDS.get(meant.verb, VERBS[meant.verb].es[2])
        return _join(command, *_rest(meant)) + ([", por favor"] if meant.please else [])
    no = "no" if meant.negated else ""
    if meant.form == "there":
        return _join(no, "hay", phrase(meant.subject, no=meant.negated), _place(meant.place))
    finite, end = _verb(meant)
    subject = "" if meant.form == "who" else phrase(meant.subject)
    often = FREQUENCIES[meant.frequency]["es"] if meant.frequency else ""
    if meant.form == "say":
        return _join(subject, often, no, finite, end, *_rest(meant))
    return _join(ASKED.get(meant.form, ""), finite, subject, end, *_rest(meant))


def _verb(meant: Clause) -> tuple[str, str]:
    """The finite verb, and the infinitive after it."""
    person = 2 if meant.form == "who" else meant.subject.person
    stands = meant.place is not None or meant.form == "where" or (meant.adjective and ADJECTIVES[meant.adjective].estar)
    infinitive = "tener" if is_had(meant) else "estar" if stands else "ser"
    if meant.verb != "be":
        infinitive = VERBS[meant.verb].es_infinitive
    if meant.modal:
        return MODALS[meant.modal][person], infinitive
    if meant.tense == "future":
        return VERBS["go"].es[person], f"a {infinitive}"
    past = meant.tense == "past"
    if meant.verb == "be" and not is_had(meant):
        return (ESTAR if stands else SER)[past][person], ""
    verb = VERBS["have" if is_had(meant) else meant.verb]
    return (verb.es_past if past else verb.es)[person], ""


def _rest(meant: Clause) -> list[str]:
    thing = "" if meant.object is None else phrase(meant.object)
    if meant.object is not None and meant.verb != "have" and meant.object.determiner != "":
        thing = f"a {thing}" if meant.object.kind in ("person", "family") else thing
    return [thing, _predicate(meant), _place(meant.place), time(meant.time)]


def _predicate(meant: Clause) -> str:
    if not meant.adjective:
        return ""
    several = meant.subject.person > 2 and meant.form != "who"
    return _agree(meant.adjective, is_feminine(meant.subject, "es") and meant.form != "who", several)


def _agree(adjective: str, feminine: bool, several: bool) -> str:
    known = ADJECTIVES[adjective]
    return known.es[0] if known.had else known.es[2 * several + feminine]


def time(key: str) -> str:
    """The words of a time."""
    return TIMES[key]["es"] if key in TIMES else f"a las {in_words(int(key[3:]), 'es')}" if key else ""


def phrase(meant: Phrase, *, no: bool = False) -> str:
    """The words of a noun phrase; `no` leaves out the article."""
    if meant.determiner == "pronoun":
        return PRONOUNS[meant.noun]
    if meant.determiner in ("name", "city"):
        return CITIES[meant.noun]["es"] if meant.determiner == "city" else meant.noun
    noun = NOUNS[meant.noun].es
    one, feminine = meant.count == 1, noun.gender == "f"
    adjective = _agree(meant.adjective, feminine, not one) if meant.adjective else ""
    if meant.determiner == "number":
        determiner = in_words(meant.count, "es")
    else:
        determiner = "" if no else DETERMINERS[meant.determiner][2 * (not one) + feminine]
        determiner = "el" if noun.el and one and determiner == "la" else determiner
    return " ".join(_join(determiner, noun.singular if one else noun.plural, adjective))


def _place(place: Place | None) -> str:
    if place is None:
        return ""
    return f"{PREPOSITIONS[place.preposition]['es']} {phrase(place.phrase)}"


def finish(text: str) -> str:
    """`a el` becomes `al`, `de el` becomes `del`, `y` before i becomes `e`."""
    text = re.sub(r"\bde el\b", "del", re.sub(r"\ba el\b", "al", text))
    return re.sub(r"\by (?=h?i(?!e))", "e ", text)


def _join(*words: str) -> list[str]:
    return [word for word in words if word]
