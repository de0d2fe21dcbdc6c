"""What a sentence says, in no language: phrases, clauses, and fixed sayings with their gaps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from phi4mm.nano.synth.language.adjectives import ADJECTIVES
from phi4mm.nano.synth.language.nouns import NOUNS

Determiner: TypeAlias = Literal["the", "a", "this", "my", "your", "our", "", "number", "name", "city", "pronoun"]
Tense: TypeAlias = Literal["past", "present", "future"]
Form: TypeAlias = Literal["say", "ask", "where", "what", "who", "when", "why", "how much", "do", "there"]
Modal: TypeAlias = Literal["", "want", "can", "must"]

PRONOUNS = ("I", "you", "he", "she", "we", "they")


@dataclass(frozen=True)
class Phrase:
    """A noun phrase.

    noun        English singular, a name, a city or a pronoun
    determiner  "" for bare plurals and for some of food and drink
    count       1, more where `determiner` is "number", 0 for a plural
    """

    noun: str
    determiner: Determiner
    count: int = 1
    adjective: str = ""

    @property
    def person(self) -> int:
        """Place in a verb's five forms: I, you, he or she, we, they."""
        if self.determiner == "pronoun":
            return (0, 1, 2, 2, 3, 4)[PRONOUNS.index(self.noun)]
        return 2 if self.count == 1 else 4

    @property
    def kind(self) -> str:
        """The kind of the noun: the name of its table; "person" for names and pronouns."""
        return NOUNS[self.noun].kind if self.noun in NOUNS else "person"

    @property
    def indefinite(self) -> bool:
        """Whether negation changes it: no bread, kein Brot, pas de pain."""
        return self.determiner in ("", "a")


@dataclass(frozen=True)
class Place:
    """A preposition, by its English name, and what it goes with."""

    preposition: str
    phrase: Phrase


@dataclass(frozen=True)
class Clause:
    """One clause.

    verb       English base form, "be" with an adjective or a place
    time       a key of TIMES, or "at 8"
    frequency  a key of FREQUENCIES; present statements only
    """

    form: Form
    subject: Phrase
    verb: str = "be"
    tense: Tense = "present"
    negated: bool = False
    object: Phrase | None = None
    adjective: str = ""
    place: Place | None = None
    time: str = ""
    frequency: str = ""
    modal: Modal = ""
    please: bool = False


@dataclass(frozen=True)
class Saying:
    """A fixed sentence, by its English form, and what fills its gaps."""

    english: str
    gaps: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Sentence:
    """One clause, or two statements joined by "and", "but" or "because"."""

    clauses: tuple[Clause, ...]
    joined: str = ""


Meaning: TypeAlias = "Saying | Sentence"


def is_feminine(phrase: Phrase, language: Literal["fr", "es"]) -> bool:
    """Whether adjectives and participles that go with `phrase` are feminine."""
    if phrase.noun in NOUNS:
        noun = NOUNS[phrase.noun]
        return (noun.fr if language == "fr" else noun.es).gender == "f"
    return phrase.noun == "she" or phrase.noun in WOMEN


def is_had(clause: Clause) -> bool:
    """Whether French and Spanish have the adjective (hunger, thirst) instead of being it."""
    return bool(clause.adjective) and ADJECTIVES[clause.adjective].had


WOMEN = ("Anna", "Maria", "Lucy", "Sarah", "Nina", "Emma", "Alice")
MEN = ("Peter", "Tom", "David", "Paul", "Ben", "Jack", "Omar")
