"""Meanings as German sentences: cases, endings, the verb in second place, `nicht` and `kein`."""

from __future__ import annotations

from typing import Literal, TypeAlias

from phi4mm.nano.synth.language.adjectives import ADJECTIVES
from phi4mm.nano.synth.language.meaning import Clause, Phrase, Place
from phi4mm.nano.synth.language.nouns import NOUNS
from phi4mm.nano.synth.language.numerals import in_words
from phi4mm.nano.synth.language.tables import CITIES, FREQUENCIES, PREPOSITIONS, TIMES
from phi4mm.nano.synth.language.verbs import VERBS

Case: TypeAlias = Literal["nominative", "accusative", "dative"]
CASES: tuple[Case, ...] = ("nominative", "accusative", "dative")
# Endings in nominative, accusative, dative of masculine, feminine, neuter and plural.
THE = {"m": "der den dem", "f": "die die der", "n": "das das dem", "p": "die die den"}
THIS = {"m": "er en em", "f": "e e er", "n": "es es em", "p": "e e en"}
A = {"m": "- en em", "f": "e e er", "n": "- - em", "p": "e e en"}
AFTER_THE = {"m": "e en en", "f": "e e en", "n": "e e en", "p": "en en en"}
AFTER_A = {"m": "er en en", "f": "e e en", "n": "es es en", "p": "en en en"}
ALONE = {"m": "er en em", "f": "e e er", "n": "es es em", "p": "e e en"}
OWN = {"a": "ein", "my": "mein", "your": "dein", "our": "unser", "no": "kein"}
PRONOUNS = {"I": "ich", "you": "du", "he": "er", "she": "sie", "we": "wir", "they": "sie"}
BE = ("bin", "bist", "ist", "sind", "sind")
WAS = ("war", "warst", "war", "waren", "waren")
WILL = ("werde", "wirst", "wird", "werden", "werden")
HAD = ("hatte", "hattest", "hatte", "hatten", "hatten")
MODALS = {
    "want": ("will", "willst", "will", "wollen", "wollen"),
    "can": ("kann", "kannst", "kann", "können", "können"),
    "must": ("muss", "musst", "muss", "müssen", "müssen"),
}
COMMANDS = {
    "open": "öffne", "close": "schließ", "clean": "putz", "wash": "wasch", "bring": "bring", "buy": "kauf",
    "read": "lies", "write": "schreib", "look for": "such", "take": "nimm", "eat": "iss", "drink": "trink",
    "paint": "mal", "draw": "zeichne", "count": "zähl", "wait": "warte", "come": "komm",
    "cook": "koch", "cut": "schneide", "sing": "sing", "find": "finde", "sell": "verkauf",
}  # fmt: skip
ASKED = {"where": "wo", "what": "was", "who": "wer", "when": "wann", "why": "warum", "how much": "wie viel"}


def clause(meant: Clause, *, last: bool = False) -> list[str]:
    """The words of a clause; `last` puts the verb at its end, as after `weil`."""
    if meant.form == "do":
        return _join(COMMANDS[meant.verb], "bitte" if meant.please else "", *_middle(meant))
    if meant.form == "there":
        return _join("es gibt", phrase(meant.subject, "accusative", no=meant.negated), _place(meant.place))
    finite, end = _verb(meant)
    subject = "wer" if meant.form == "who" else phrase(meant.subject, "nominative")
    if last:
        return _join(subject, *_middle(meant), end, finite)
    if meant.form in ("say", "who"):
        return _join(subject, finite, *_middle(meant), end)
    return _join(ASKED.get(meant.form, ""), finite, subject, *_middle(meant), end)


def _verb(meant: Clause) -> tuple[str, str]:
    """The finite verb, and what stands at the end."""
    person = 2 if meant.form == "who" else meant.subject.person
    infinitive = "sein" if meant.verb == "be" else VERBS[meant.verb].de_infinitive
    if meant.modal:
        return MODALS[meant.modal][person], infinitive
    if meant.tense == "future":
        return WILL[person], infinitive
    if meant.verb == "be":
        return (BE if meant.tense == "present" else WAS)[person], ""
    verb = VERBS[meant.verb]
    if meant.tense == "present":
        return verb.de[person], ""
    if meant.verb == "have":
        return HAD[person], ""
    return (BE if verb.be[0] else VERBS["have"].de)[person], verb.de_participle


def _middle(meant: Clause) -> list[str]:
    """Time, object, adjective and place; `nicht` comes after a definite object and before all else."""
    when = time(meant.time) or (FREQUENCIES[meant.frequency]["de"] if meant.frequency else "")
    place = _place(meant.place)
    adjective = ADJECTIVES[meant.adjective].de[0] if meant.adjective else ""
    if meant.object is None:
        return [when, "nicht" if meant.negated else "", adjective, place]
    no = meant.negated and meant.object.indefinite
    thing = phrase(meant.object, "accusative", no=no)
    if meant.negated and not no:
        return [thing, when, "nicht", place]
    return [when, thing, place]


def time(key: str) -> str:
    """The words of a time."""
    return TIMES[key]["de"] if key in TIMES else f"um {in_words(int(key[3:]), 'de')} Uhr" if key else ""


def phrase(meant: Phrase, case: Case, *, no: bool = False) -> str:
    """The words of a noun phrase in a case; `no` negates it with `kein`."""
    if meant.determiner == "pronoun":
        return PRONOUNS[meant.noun]
    if meant.determiner in ("name", "city"):
        return CITIES[meant.noun]["de"] if meant.determiner == "city" else meant.noun
    noun = NOUNS[meant.noun].de
    gender = noun.gender if meant.count == 1 else "p"
    determiner = "no" if no else meant.determiner
    article, endings = _article(determiner, gender, case, meant.count)
    adjective = ADJECTIVES[meant.adjective].de[1] + _ending(endings, gender, case) if meant.adjective else ""
    return " ".join(_join(article, adjective, _noun(meant, case)))


def _article(determiner: str, gender: str, case: Case, count: int) -> tuple[str, dict[str, str]]:
    """The article or its like, and the endings of an adjective after it."""
    if determiner == "the":
        return _ending(THE, gender, case), AFTER_THE
    if determiner == "this":
        return "dies" + _ending(THIS, gender, case), AFTER_THE
    if determiner in OWN:
        return OWN[determiner] + _ending(A, gender, case), AFTER_A
    return in_words(count, "de") if determiner == "number" else "", ALONE


def _noun(meant: Phrase, case: Case) -> str:
    noun = NOUNS[meant.noun].de
    if meant.count == 1:
        return noun.singular + (noun.weak if case != "nominative" else "")
    plural = noun.plural
    return plural + ("n" if case == "dative" and not plural.endswith(("n", "s", "o")) else "")


def _place(place: Place | None) -> str:
    if place is None:
        return ""
    if place.phrase.determiner == "city":
        preposition = {"in": "in", "to": "nach", "from": "aus"}[place.preposition]
        return f"{preposition} {phrase(place.phrase, 'dative')}"
    case: Case = "accusative" if place.preposition == "for" else "dative"
    return f"{PREPOSITIONS[place.preposition]['de']} {phrase(place.phrase, case)}"


def finish(text: str) -> str:
    """`in dem` becomes `im`, and so on."""
    for apart, together in (("in dem ", "im "), ("zu dem ", "zum "), ("zu der ", "zur "), ("von dem ", "vom ")):
        text = text.replace(apart, together)
    return text


def _ending(endings: dict[str, str], gender: str, case: Case) -> str:
    return endings[gender].split()[CASES.index(case)].replace("-", "")


def _join(*words: str) -> list[str]:
    return [word for word in words if word]
