"""Chat of several turns: facts told and asked back, follow-up questions, mixed talk, obeyed system messages.

Every answer of the conversation is learned, not only the last.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from phi4mm.nano.synth import dialogue, first_words, knowledge, strings
from phi4mm.nano.synth.example import LANGUAGES, Example, Language, Speaker
from phi4mm.nano.synth.language import tables
from phi4mm.nano.synth.language.numerals import in_words
from phi4mm.nano.synth.openings import OPENINGS
from phi4mm.nano.synth.outside import OUTSIDE, outside
from phi4mm.nano.synth.skills import CITIES, NAMES
from phi4mm.nano.synth.split import ALWAYS_TRAINED, Split, draw
from phi4mm.protocol.messages import Message

TASKS = ("told", "follow_up", "mixed", "obeyed")
REMEMBERED = "I will remember that."
UNTOLD = "You have not told me."


@dataclass(frozen=True)
class Telling:
    """How a user tells something about himself and asks for it; the answer repeats the value."""

    told: tuple[str, ...]
    asked: tuple[str, ...]
    answer: str
    reply: str = REMEMBERED


TELLINGS = {
    "name": Telling(
        ("My name is {}.", "I am called {}.", "Call me {}.", "Hello, my name is {}.", "Hi, I'm {}.", "my name is {}"),
        ("What is my name?", "Do you know my name?", "What am I called?", "Say my name.", "what is my name",
        "Who am I?"),
        "Your name is {}.", "Hello, {}!",
    ),
    "city": Telling(
        ("I live in {}.", "My home is in {}.", "I moved to {}."), ("Where do I live?", "In which city do I live?"),
        "You live in {}.",
    ),
    "age": Telling(("I am {} years old.", "I'm {} years old."), ("How old am I?", "What is my age?"),
    "You are {} years old."),
    "color": Telling(
        ("My favorite color is {}.", "I like {} best of all colors."), ("What is my favorite color?",),
        "Your favorite color is {}.",
    ),
    "dog": Telling(
        ("My dog is called {}.", "I have a dog named {}.", "My dog's name is {}."),
        ("What is my dog called?", "What is the name of my dog?"), "Your dog is called {}.",
    ),
    "job": Telling(("I am a {}.", "I work as a {}."), ("What is my job?", "What do I do for work?"), "You are a {}."),
    "friend": Telling(
        ("My best friend is {}.", "{} is my best friend."), ("Who is my best friend?",
        "What is my best friend called?"),
        "Your best friend is {}.",
    ),
}  # fmt: skip
JOBS = ("teacher", "doctor", "farmer", "driver", "waiter", "cook", "singer", "painter", "baker", "pilot", "nurse")
COLORS = ("red", "blue", "green", "yellow", "black", "white", "gray", "brown", "orange", "purple", "pink")
FEW = ("color", "job", "age")  # of few values, all of them trained
THINGS = (
    "code",
    "number",
    "word",
    "password",
    "room",
    "time",
    "price",
    "date",
    "place",
    "color",
    "key",
    "answer",
    "title",
)
AGAIN = ("Say that again.", "Repeat that.", "Again, please.", "What did you say?", "Can you repeat that?", "again")
THANKS = ("Thank you.", "Thanks!", "thanks", "Thank you very much.", "thx")
BYES = ("Goodbye.", "Bye!", "bye", "See you later.")
IN_LANGUAGE: dict[Language, tuple[str, ...]] = {
    "en": ("Answer in English.", "Always answer in English.", "Speak English."),
    "de": ("Answer in German.", "Always answer in German.", "Speak German.", "Antworte auf Deutsch."),
    "fr": ("Answer in French.", "Always answer in French.", "Speak French.", "Réponds en français."),
    "es": ("Answer in Spanish.", "Always answer in Spanish.", "Speak Spanish.", "Responde en español."),
}
CAPITALS = ("Answer in capital letters.", "Write everything in capital letters.", "Use only capital letters.")
# Openings whose answers stand in the same place in every language: English, German, French, Spanish.
SAME = ((0, 0, 0, 0), (3, 2, 1, 2), (4, 3, 2, 3), (5, 4, 3, 4), (6, 5, 4, 5), (7, 6, 5, 6), (8, 7, 6, 7), (9, 8, 7, 8),
        (10, 9, 8, 9), (11, 10, 9, 10))  # fmt: skip


def make(task: str, split: Split, rng: random.Random, _speak: Speaker) -> Example:
    """A conversation; what is told or asked in it belongs to `split`."""
    if task == "told":
        return _told(split, rng)
    if task == "follow_up":
        return _example(task, _follow_up(split, rng), rng)
    if task == "mixed":
        return _example(task, _mixed(split, rng), rng)
    return _obeyed(split, rng)


def _example(task: str, talk: list[tuple[str, str]], rng: random.Random, system: str = "") -> Example:
    """Questions and answers as turns; the answer of the last is the example's."""
    messages = [Message.system(system)] if system else []
    if not system and rng.random() < 0.3:
        messages.append(Message.system(rng.choice(dialogue.SYSTEM)))
    for question, answer in talk:
        messages += [Message.user(question), Message.assistant(answer)]
    messages.pop()
    turns = tuple(number for number, message in enumerate(messages) if message.role == "assistant")
    return Example(task, tuple(messages), (), talk[-1][1], turns=turns)


def _told(split: Split, rng: random.Random) -> Example:
    """One to three things told, other talk, and one of them asked back; now and then one that was not told."""
    told = [
        _thing(split, rng) if rng.random() < 0.35 else _telling(split, rng) for _ in range(rng.choice((1, 1, 2, 3)))
    ]
    told = list({each[0]: each for each in told}.values())
    system = ""
    talk: list[tuple[str, str]] = []
    for _, statement, reply, _, _ in told:
        if not system and not talk and rng.random() < 0.12 and statement.startswith("My name is"):
            system = statement.replace("My", "The user's")
        else:
            talk.append((statement, reply))
    talk += [_other(split, rng) for _ in range(rng.choice((0, 0, 0, 1, 2)))]
    _, _, _, asked, answer = rng.choice(told)
    untold = [each for each in TELLINGS if each not in [each for each, *_ in told]]
    if rng.random() < 0.12:
        asked, answer = rng.choice(TELLINGS[rng.choice(untold)].asked), UNTOLD
        talk = [] if rng.random() < 0.3 else talk
    return _example("told", [*talk, (asked, answer)], rng, system)


def _telling(split: Split, rng: random.Random) -> tuple[str, str, str, str, str]:
    """What it is about, the statement, the reply, the question and its answer."""
    about = rng.choice((*TELLINGS, "name", "name"))
    if split == "held_out" and about in FEW:
        about = "name"
    telling = TELLINGS[about]
    value = draw(split, rng, lambda rng: _value(about, rng), lambda value: _key(about, value))
    statement = rng.choice(telling.told).format(value)
    return about, statement, telling.reply.format(value), rng.choice(telling.asked), telling.answer.format(value)


def _key(about: str, value: str) -> tuple[str, ...]:
    return ALWAYS_TRAINED if about in FEW else ("told", about, value)


def _value(about: str, rng: random.Random) -> str:
    if about in ("name", "dog", "friend"):
        return rng.choice(NAMES) if rng.random() < 0.2 else strings.plain_word(rng).capitalize()
    if about == "city":
        return rng.choice(CITIES) if rng.random() < 0.3 else strings.plain_word(rng).capitalize()
    return {"age": str(rng.randint(3, 99)), "color": rng.choice(COLORS), "job": rng.choice(JOBS)}[about]


def _thing(split: Split, rng: random.Random) -> tuple[str, str, str, str, str]:
    """The same for anything with a value: a code, a number, a made-up thing."""
    name = rng.choice(THINGS) if rng.random() < 0.6 else strings.plain_word(rng)

    def make(rng: random.Random) -> str:
        return rng.choice((strings.key, strings.clock, strings.iso_date, strings.plain_word, strings.identifier))(rng)

    value = draw(split, rng, make, lambda value: ("told", name, value))
    statement = rng.choice(
        ("The {} is {}.", "Remember: the {} is {}.", "Please remember that the {} is {}.", "The {}: {}")
    )
    asked = rng.choice(("What is the {}?", "What was the {}?", "Tell me the {}.", "Which {} did I tell you?"))
    return name, statement.format(name, value), REMEMBERED, asked.format(name), f"The {name} is {value}."


def _other(split: Split, rng: random.Random) -> tuple[str, str]:
    """Talk that has nothing to do with the rest."""
    style = rng.random()
    if style < 0.6:
        return knowledge.fact(split, rng)
    if style < 0.8:
        return first_words.opening(split, rng)[:2]
    text, language = outside(split, rng)
    return text, OUTSIDE[language]


def _follow_up(split: Split, rng: random.Random) -> list[tuple[str, str]]:
    """A question, and a second that only the first makes clear."""
    style = rng.randrange(6)
    if style == 0:
        first, second = rng.sample(list(knowledge.CAPITALS.items()), 2)
        talk = [(f"What is the capital of {first[0]}?", f"{first[1]}."), (_and("of", second[0], rng), f"{second[1]}.")]
    elif style == 1:
        pairs = [pair[:: rng.choice((1, -1))] for pair in rng.sample(knowledge.OPPOSITES, 2)]
        (word, opposite), (other, answer) = pairs
        talk = [(f"What is the opposite of {word}?", _answer(opposite)), (_and("of", other, rng), _answer(answer))]
    elif style == 2:
        days = list(tables.DAYS)
        first_day, second_day = rng.sample(range(7), 2)
        talk = [(f"What day comes after {days[first_day]}?", f"{days[(first_day + 1) % 7]}."),
                (_and("after", days[second_day], rng), f"{days[(second_day + 1) % 7]}.")]  # fmt: skip
    elif style == 3:
        (thing, color), (other, answer) = rng.sample(knowledge.COLORED, 2)
        talk = [(f"What color is the {thing}?", _answer(color)), (f"And the {other}?", _answer(answer))]
    elif style == 4:
        talk = [knowledge.sum_of(split, rng, words=True), knowledge.sum_of(split, rng, words=True)]
        asked = talk[1][0]
        if asked.startswith("What is "):
            talk[1] = f"And {asked.removeprefix('What is ')}", talk[1][1]
    else:
        talk = [_other(split, rng)]
        talk.append((rng.choice(AGAIN), talk[0][1]))
    if rng.random() < 0.3:
        talk.append((rng.choice(THANKS), "You are welcome."))
    return talk


def _and(word: str, what: str, rng: random.Random) -> str:
    return rng.choice(("And {} {}?", "and {} {}?", "And what about {1}?", "And {1}?")).format(word, what)


def _answer(word: str) -> str:
    return f"{word[0].upper()}{word[1:]}."


def _mixed(split: Split, rng: random.Random) -> list[tuple[str, str]]:
    """Two to five questions that have nothing to do with each other, thanks or goodbye at the end."""
    talk = [_other(split, rng) for _ in range(rng.randint(2, 5))]
    if rng.random() < 0.3:
        talk.append((rng.choice(THANKS), "You are welcome.") if rng.random() < 0.6 else (rng.choice(BYES), "Goodbye!"))
    return talk


def _obeyed(split: Split, rng: random.Random) -> Example:
    """A system message that asks for a language, for capital letters, or gives another name."""
    style = rng.random()
    if style < 0.25:
        name = draw(split, rng, lambda rng: strings.plain_word(rng).capitalize(), lambda name: ("called", name))
        asked = rng.choice(("What is your name?", "what is your name", "What's your name?", "What are you called?"))
        system = rng.choice(("Your name is {}.", "You are called {}.", "Your name is {}. Answer briefly.")).format(name)
        return _example("obeyed", [(asked, f"My name is {name}.")], rng, system)
    if style < 0.5:
        question, answer = _other(split, rng)
        return _example("obeyed", [(question, answer.upper())], rng, rng.choice(CAPITALS))
    language: Language = rng.choice(LANGUAGES)
    talk = [_in(language, split, rng) for _ in range(rng.choice((1, 1, 2)))]
    return _example("obeyed", talk, rng, rng.choice(IN_LANGUAGE[language]))


def _in(language: Language, split: Split, rng: random.Random) -> tuple[str, str]:
    """A question in any language and its answer in `language`."""
    style = rng.random()
    if style < 0.5:
        same = rng.choice(SAME)
        asked = rng.randrange(4)
        said = OPENINGS[LANGUAGES[asked]][same[asked]]
        phrase = rng.choice(said.phrases)
        answer = OPENINGS[language][same[LANGUAGES.index(language)]].answer
        return first_words.written(phrase, LANGUAGES[asked], said.joins), answer
    if style < 0.75:
        return outside(split, rng)[0], OUTSIDE[language]
    if style < 0.87:
        days = list(tables.DAYS)
        at = rng.randrange(7)
        return f"What day comes after {days[at]}?", f"{_upper(tables.DAYS[days[(at + 1) % 7]][language])}."
    first, second, _ = draw(split, rng, knowledge.operands, lambda drawn: ("sum", str(drawn[0]), str(drawn[1])))
    asked_sum = f"What is {in_words(first, 'en')} plus {in_words(second, 'en')}?"
    return asked_sum, f"{_upper(in_words(first + second, language))}."


def _upper(word: str) -> str:
    return word[0].upper() + word[1:]
