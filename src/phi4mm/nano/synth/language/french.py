"""Meanings as French sentences: agreement, partitives, `ne ... pas`, elision and contraction."""

from __future__ import annotations

import re

from phi4mm.nano.synth.language.adjectives import ADJECTIVES
from phi4mm.nano.synth.language.meaning import Clause, Phrase, Place, is_feminine, is_had
from phi4mm.nano.synth.language.nouns import NOUNS
from phi4mm.nano.synth.language.numerals import in_words
from phi4mm.nano.synth.language.tables import CITIES, FREQUENCIES, PREPOSITIONS, TIMES
from phi4mm.nano.synth.language.verbs import VERBS

PRONOUNS = {"I": "je", "you": "tu", "he": "il", "she": "elle", "we": "nous", "they": "ils"}
BE = ("suis", "es", "est", "sommes", "sont")
WAS = ("étais", "étais", "était", "étions", "étaient")
HAD = ("avais", "avais", "avait", "avions", "avaient")
MODALS = {
    "want": ("veux", "veux", "veut", "voulons", "veulent"),
    "can": ("peux", "peux", "peut", "pouvons", "peuvent"),
    "must": ("dois", "dois", "doit", "devons", "doivent"),
}
# Masculine, feminine, plural.
DETERMINERS = {
    "the": ("le", "la", "les"), "a": ("un", "une", "des"), "this": ("ce", "cette", "ces"), "my": ("mon", "ma", "mes"),
    "your": ("ton", "ta", "tes"), "our": ("notre", "notre", "nos"), "": ("de le", "de la", "des"),
}  # fmt: skip
ASKED = {
    "ask": "est-ce que", "where": "où est-ce que", "what": "qu'est-ce que", "when": "quand est-ce que",
    "why": "pourquoi est-ce que",
}  # fmt: skip
VOWELS = "aeiouhyâàéèêëîïôœùûAEIOU"


def clause(meant: Clause) -> list[str]:
    """The words of a clause, before elision."""
    subject = phrase(meant.subject)
    if meant.form == "do":
        command = VERBS[meant.verb].fr[1]
        command = command.removesuffix("s") if command.endswith("es") else command
        return _join(command, *_rest(meant)) + ([", s'il te plaît"] if meant.please else [])
    if meant.form == "there":
        there = "il n'y a pas" if meant.negated else "il y a"
        return _join(there, phrase(meant.subject, no=meant.negated), _place(meant.place))
    if meant.form == "how much":
        return _join("combien", VERBS["cost"].fr[meant.subject.person], subject)
    if meant.form == "where" and meant.verb == "be":
        return _join("où", BE[meant.subject.person], subject)
    finite, end = _verb(meant)
    often = FREQUENCIES[meant.frequency]["fr"] if meant.frequency else ""
    if meant.negated:
        finite = f"ne {finite} pas"
    elif meant.frequency:
        finite = f"ne {finite} {often}" if meant.frequency == "never" else f"{finite} {often}"
    asked = "qui" if meant.form == "who" else ASKED.get(meant.form, "")
    return _join(asked, "" if meant.form == "who" else subject, finite, end, *_rest(meant))


def _verb(meant: Clause) -> tuple[str, str]:
    """The finite verb, and the participle or infinitive after it."""
    person = 2 if meant.form == "who" else meant.subject.person
    have = VERBS["have"]
    infinitive = "avoir" if is_had(meant) else "être" if meant.verb == "be" else VERBS[meant.verb].fr_infinitive
    if meant.modal:
        return MODALS[meant.modal][person], infinitive
    if meant.tense == "future":
        return VERBS["go"].fr[person], infinitive
    if meant.verb == "have" or is_had(meant):
        return (have.fr if meant.tense == "present" else HAD)[person], ""
    if meant.verb == "be":
        return (BE if meant.tense == "present" else WAS)[person], ""
    verb = VERBS[meant.verb]
    if meant.tense == "present":
        return verb.fr[person], ""
    if not verb.be[1] or meant.form == "who":
        return (BE if verb.be[1] else have.fr)[person], verb.fr_participle
    feminine = "e" if is_feminine(meant.subject, "fr") else ""
    return BE[person], f"{verb.fr_participle}{feminine}{'s' if person > 2 else ''}"


def _rest(meant: Clause) -> list[str]:
    no = meant.negated or meant.frequency == "never"
    thing = "" if meant.object is None else phrase(meant.object, no=no and meant.object.indefinite)
    return [thing, _predicate(meant), _place(meant.place), time(meant.time)]


def _predicate(meant: Clause) -> str:
    if not meant.adjective:
        return ""
    several = meant.subject.person > 2 and meant.form != "who"
    return _agree(meant.adjective, is_feminine(meant.subject, "fr") and meant.form != "who", several)


def _agree(adjective: str, feminine: bool, several: bool) -> str:
    """An adjective that agrees; a noun that is had stays."""
    known = ADJECTIVES[adjective]
    word = known.fr[1] if feminine and not known.had else known.fr[0]
    if not several or known.had or word.endswith(("s", "x")):
        return word
    return word + ("x" if word.endswith("eau") else "s")


def time(key: str) -> str:
    """The words of a time."""
    return TIMES[key]["fr"] if key in TIMES else f"à {in_words(int(key[3:]), 'fr')} heures" if key else ""


def phrase(meant: Phrase, *, no: bool = False) -> str:
    """The words of a noun phrase; `no` makes an indefinite article `de`."""
    if meant.determiner == "pronoun":
        return PRONOUNS[meant.noun]
    if meant.determiner in ("name", "city"):
        return CITIES[meant.noun]["fr"] if meant.determiner == "city" else meant.noun
    noun = NOUNS[meant.noun].fr
    one, feminine = meant.count == 1, noun.gender == "f"
    words = [noun.singular if one else noun.plural]
    before = False
    if meant.adjective:
        before = ADJECTIVES[meant.adjective].before
        adjective = _agree(meant.adjective, feminine, not one)
        if before and one and not feminine and words[0][0] in VOWELS:
            adjective = ADJECTIVES[meant.adjective].fr[2]
        words.insert(0 if before else 1, adjective)
    return " ".join([_determiner(meant, no, feminine, words[0], before), *words])


def _determiner(meant: Phrase, no: bool, feminine: bool, following: str, before: bool) -> str:
    if meant.determiner == "number":
        return in_words(meant.count, "fr")
    if no:
        return "de"
    masculine, female, plural = DETERMINERS[meant.determiner]
    if meant.count != 1:
        return "de" if plural == "des" and before else plural
    vowel = following[0] in VOWELS
    if meant.determiner in ("my", "your") and vowel:
        return masculine
    if meant.determiner == "this" and vowel and not feminine:
        return "cet"
    return female if feminine else masculine


def _place(place: Place | None) -> str:
    if place is None:
        return ""
    if place.phrase.determiner == "city":
        return f"{'de' if place.preposition == 'from' else 'à'} {phrase(place.phrase)}"
    return f"{PREPOSITIONS[place.preposition]['fr']} {phrase(place.phrase)}"


def finish(text: str) -> str:
    """Elision (`l'eau`, `j'ai`, `n'est`) and contraction (`du`, `au`)."""
    text = re.sub(rf"\b([jlndc]|qu)[ea] (?=[{VOWELS}])", r"\1'", text)
    text = re.sub(r"\bde le\b", "du", text)
    text = re.sub(r"\bde les\b", "des", text)
    return re.sub(r"\bà les\b", "aux", re.sub(r"\bà le\b", "au", text))


def _join(*words: str) -> list[str]:
    return [word for word in words if word]
