"""Simple facts and small skills with words and numbers: what nano is asked in chat, in the style of dialogue.py.

Facts are to be memorised and belong to both splits; what is computed (sums, spelling, sorting) belongs to one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeAlias

from phi4mm.nano.synth import dialogue, strings
from phi4mm.nano.synth.dialogue import NUMBERS
from phi4mm.nano.synth.example import LANGUAGES, Example, Language, Speaker
from phi4mm.nano.synth.language import tables
from phi4mm.nano.synth.language.nouns import NOUNS
from phi4mm.nano.synth.language.numerals import in_words
from phi4mm.nano.synth.split import Split, draw
from phi4mm.protocol.messages import Message

TASKS = ("facts",)
Fact: TypeAlias = tuple[str, str]
OPPOSITES = (
    *dialogue.OPPOSITES, ("full", "empty"), ("wet", "dry"), ("rich", "poor"), ("clean", "dirty"), ("easy", "difficult"),
    ("strong", "weak"), ("long", "short"), ("up", "down"), ("in", "out"), ("yes", "no"), ("buy", "sell"), ("first",
    "last"),
    ("north", "south"), ("east", "west"), ("summer", "winter"), ("inside", "outside"), ("before", "after"), ("win",
    "lose"),
    ("black", "white"), ("true", "false"), ("always", "never"), ("love", "hate"), ("begin", "end"), ("push", "pull"),
    ("come", "go"), ("give", "take"), ("hard", "soft"), ("thick", "thin"), ("near", "far"), ("everything", "nothing"),
    ("question", "answer"), ("war", "peace"), ("laugh", "cry"), ("wide", "narrow"), ("loud", "quiet"), ("safe",
    "dangerous"),
)  # fmt: skip
CAPITALS = dict((
    *dialogue.CAPITALS, ("Poland", "Warsaw"), ("Norway", "Oslo"), ("Ireland", "Dublin"), ("Sweden", "Stockholm"),
    ("Belgium", "Brussels"), ("Denmark", "Copenhagen"), ("Russia", "Moscow"), ("Peru", "Lima"), ("Cuba", "Havana"),
    ("Kenya", "Nairobi"),
))  # fmt: skip
COLORED = (
    *dialogue.COLORED, ("blood", "red"), ("coal", "black"), ("lemon", "yellow"), ("tomato", "red"), ("carrot",
    "orange"),
    ("chocolate", "brown"), ("sea", "blue"), ("salt", "white"), ("elephant", "gray"), ("banana", "yellow"), ("frog",
    "green"),
)  # fmt: skip
COUNTED = (
    ("days are in a week", 7), ("months are in a year", 12), ("hours are in a day", 24), ("minutes are in an hour", 60),
    ("seconds are in a minute", 60), ("legs does a dog have", 4), ("legs does a bird have", 2),
    ("wheels does a car have", 4),
    ("wheels does a bicycle have", 2), ("sides does a triangle have", 3), ("sides does a square have", 4),
    ("fingers does a hand have", 5), ("legs does a spider have", 8), ("seasons are in a year", 4),
    ("eyes does a cat have", 2),
    ("cents are in a euro", 100), ("letters are in the alphabet", 26),
)  # fmt: skip
ORDINALS = (
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
)
MONTHS = tuple(tables.MONTHS)
NEXT_DAY: dict[Language, tuple[str, str]] = {
    "en": ("What day comes after {}?", "What day comes before {}?"),
    "de": ("Welcher Tag kommt nach {}?", "Welcher Tag kommt vor {}?"),
    "fr": ("Quel jour vient après {} ?", "Quel jour vient avant {} ?"),
    "es": ("¿Qué día viene después del {}?", "¿Qué día viene antes del {}?"),
}
SUM_WORDS: dict[Language, str] = {
    "en": "What is {} plus {}?", "de": "Was ist {} plus {}?", "fr": "Combien font {} plus {} ?",
    "es": "¿Cuánto es {} más {}?",
}  # fmt: skip


def make(task: str, split: Split, rng: random.Random, _speak: Speaker) -> Example:
    """A question and its answer, half of the time after a system message."""
    question, answer = fact(split, rng)
    told = (Message.system(rng.choice(dialogue.SYSTEM)),) if rng.random() < 0.3 else ()
    return Example(task, (*told, Message.user(question)), (), answer)


def fact(split: Split, rng: random.Random, *, spoken: bool = False) -> Fact:
    """A question and its answer; what is computed belongs to `split`; without digits and odd words if `spoken`."""
    question, answer = rng.choice(MEMORISED if rng.random() < 0.4 else SPOKEN if spoken else COMPUTED)(split, rng)
    return (question if spoken else typed(question, rng)), answer


def typed(question: str, rng: random.Random) -> str:
    """A question as people type it: now and then in lower case, without its sign, or with `What's`."""
    style = rng.random()
    if style < 0.12:
        return question.replace("What is", "What's", 1)
    if style < 0.24:
        return question.rstrip("?. ")
    return (
        question[0].lower() + question[1:].rstrip("?. ")
        if style < 0.34
        else question.lower()
        if style < 0.4
        else question
    )


def _opposite(_split: Split, rng: random.Random) -> Fact:
    word, opposite = rng.choice(OPPOSITES)[:: rng.choice((1, -1))]
    asked = rng.choice(("What is the opposite of {}?", "What is the opposite of {}?", "Give me the opposite of {}."))
    return asked.format(word), _answer(opposite)


def _capital(_split: Split, rng: random.Random) -> Fact:
    country, city = rng.choice(list(CAPITALS.items()))
    if rng.random() < 0.25:
        return f"Which country has the capital {city}?", f"{country}."
    return rng.choice(("What is the capital of {}?", "Name the capital of {}.")).format(country), f"{city}."


def _color(_split: Split, rng: random.Random) -> Fact:
    thing, color = rng.choice(COLORED)
    return f"What color is the {thing}?", _answer(color)


def _counted(_split: Split, rng: random.Random) -> Fact:
    what, number = rng.choice(COUNTED)
    return f"How many {what}?", _answer(in_words(number, "en"))


def _day(_split: Split, rng: random.Random) -> Fact:
    language = rng.choice(("en", "en", *LANGUAGES))
    days = [day[language] for day in tables.DAYS.values()]
    at, before = rng.randrange(7), rng.random() < 0.4
    return NEXT_DAY[language][before].format(days[at]), _answer(days[(at + (-1 if before else 1)) % 7])


def _month(_split: Split, rng: random.Random) -> Fact:
    at = rng.randrange(12)
    if rng.random() < 0.3:
        return f"What is the {ORDINALS[at]} month?", f"{MONTHS[at]}."
    before = rng.random() < 0.4
    return (
        f"What month comes {'before' if before else 'after'} {MONTHS[at]}?",
        f"{MONTHS[(at + (-1 if before else 1)) % 12]}.",
    )


def _foreign(_split: Split, rng: random.Random) -> Fact:
    """A noun in another language."""
    noun = rng.choice([noun for noun in NOUNS.values() if noun.kind not in ("food", "drink", "money")])
    language, name = rng.choice((("de", "German"), ("fr", "French"), ("es", "Spanish")))
    form = {"de": noun.de, "fr": noun.fr, "es": noun.es}[language]
    return f"What is the {name} word for {noun.en.singular}?", _answer(form.singular)


def _plural(_split: Split, rng: random.Random) -> Fact:
    noun = rng.choice([noun.en for noun in NOUNS.values() if noun.kind not in ("food", "drink", "money")])
    if rng.random() < 0.3 and noun.plural != noun.singular:
        return f"What is the singular of {noun.plural}?", _answer(noun.singular)
    return f"What is the plural of {noun.singular}?", _answer(noun.plural)


def sum_of(split: Split, rng: random.Random, *, words: bool) -> Fact:
    """A sum, a difference or a product, in words or in digits."""
    first, second, sign = draw(split, rng, operands, lambda drawn: operands_key(*drawn))
    while words and sign == "*" and first * second > 100:
        first, second, sign = draw(split, rng, operands, lambda drawn: operands_key(*drawn))
    result = {"+": first + second, "-": first - second, "*": first * second}[sign]
    name = {"+": "plus", "-": "minus", "*": "times"}[sign]
    if words:
        language: Language = rng.choice(LANGUAGES) if sign == "+" and rng.random() < 0.4 else "en"
        asked = SUM_WORDS[language] if language != "en" else f"What is {{}} {name} {{}}?"
        return asked.format(in_words(first, language), in_words(second, language)), _answer(in_words(result, language))
    asked = rng.choice(
        (f"What is {{}} {sign} {{}}?", f"What is {{}} {name} {{}}?", f"{{}} {sign} {{}} = ?", f"{{}} {sign} {{}}")
    )
    return asked.format(first, second), f"{result}."


def operands(rng: random.Random) -> tuple[int, int, str]:
    """Two numbers and the sign between them."""
    sign = rng.choice("++-*")
    if sign == "*":
        return rng.randint(0, 12), rng.randint(0, 12) if rng.random() < 0.7 else rng.randint(0, 8), sign
    first, second = rng.randint(0, 20), rng.randint(0, 20)
    return (max(first, second), min(first, second), sign) if sign == "-" else (first, second, sign)


def operands_key(first: int, second: int, sign: str) -> tuple[str, ...]:
    """The key of dialogue.py for sums, so that a sum held out there is held out here."""
    return ("sum" if sign == "+" else sign, str(first), str(second))


def _sum_in_words(split: Split, rng: random.Random) -> Fact:
    return sum_of(split, rng, words=True)


def _sum_in_digits(split: Split, rng: random.Random) -> Fact:
    return sum_of(split, rng, words=False)


def _greatest(split: Split, rng: random.Random) -> Fact:
    numbers = _numbers(split, rng, rng.randint(2, 4))
    listed = f"{', '.join(map(str, numbers[:-1]))} or {numbers[-1]}"
    if rng.random() < 0.5:
        return f"Which number is the biggest: {listed}?", f"{max(numbers)}."
    return f"Which number is the smallest: {listed}?", f"{min(numbers)}."


def _sorted(split: Split, rng: random.Random) -> Fact:
    numbers = _numbers(split, rng, rng.randint(3, 6))
    asked = rng.choice(("Sort these numbers: {}.", "Put these numbers in order: {}.", "Sort from small to big: {}."))
    return asked.format(", ".join(map(str, numbers))), f"{', '.join(map(str, sorted(numbers)))}."


def _numbers(split: Split, rng: random.Random, count: int) -> list[int]:
    most = rng.choice((10, 20, 100))
    return draw(
        split, rng, lambda rng: rng.sample(range(most), count), lambda drawn: ("numbers", *map(str, sorted(drawn)))
    )


def _spelled(split: Split, rng: random.Random) -> Fact:
    word = _word(split, rng)
    asked = rng.choice(("Spell the word {}.", "Spell {}.", "How do you spell {}?", "Spell {} letter by letter."))
    return asked.format(word), f"{'-'.join(word.upper())}."


def _letters(split: Split, rng: random.Random) -> Fact:
    word = _word(split, rng)
    style = rng.randrange(3)
    if style == 0:
        return f"How many letters does the word {word} have?", _answer(NUMBERS[len(word)])
    if style == 1:
        return f"What is the first letter of {word}?", f"{word[0].upper()}."
    return f"What is the last letter of {word}?", f"{word[-1].upper()}."


def _word(split: Split, rng: random.Random) -> str:
    def make(rng: random.Random) -> str:
        if rng.random() < 0.5:
            return rng.choice([word for word in strings.WORDS if 2 < len(word) < 11])
        while len(word := strings.plain_word(rng)) > 10:
            pass
        return word

    return draw(split, rng, make, lambda word: ("word", word))


def _words(split: Split, rng: random.Random) -> Fact:
    """A question on the words of a row of words."""

    def make(rng: random.Random) -> list[str]:
        return rng.sample(strings.WORDS, rng.randint(2, 8))

    words = draw(split, rng, make, lambda drawn: ("words", *drawn))
    row = " ".join(words)
    style = rng.randrange(4)
    if style == 0:
        return f'How many words are in "{row}"?', _answer(NUMBERS[len(words)])
    if style == 1:
        return f'What is the first word of "{row}"?', _answer(words[0])
    if style == 2:
        return f'What is the last word of "{row}"?', _answer(words[-1])
    at = rng.randrange(len(words))
    return f'What is the {ORDINALS[at]} word of "{row}"?', _answer(words[at])


def _answer(word: str) -> str:
    return f"{word[0].upper()}{word[1:]}."


MEMORISED: tuple[Callable[[Split, random.Random], Fact], ...] = (
    _opposite, _capital, _color, _counted, _day, _month, _foreign, _plural,
)  # fmt: skip
COMPUTED = (_sum_in_words, _sum_in_digits, _sum_in_digits, _greatest, _sorted, _spelled, _letters, _words)
SPOKEN = (_sum_in_words,)
