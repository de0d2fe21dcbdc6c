"""Conversations of text alone: tool calls, requests that no tool fits, small talk and simple facts."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

from phi4mm.nano.synth.skills import CITIES, ITEMS, NAMES, SKILLS, Skill
from phi4mm.nano.synth.split import Split, draw
from phi4mm.protocol.messages import Tool

SYSTEM = (
    "You are a helpful assistant.", "You are a helpful assistant with some tools.", "Answer briefly.",
    "You are a friendly assistant.",
)  # fmt: skip
NO_TOOL = "I have no tool for that."
SYLLABLES = (
    "ka",
    "lo",
    "mi",
    "ren",
    "ta",
    "su",
    "ber",
    "vil",
    "no",
    "pa",
    "dor",
    "lin",
    "es",
    "gra",
    "to",
    "mar",
    "zu",
)

GREETINGS = {
    "Hello.": "Hello! How can I help you?", "Hi.": "Hello! How can I help you?", "Good morning.": "Good morning!",
    "Good evening.": "Good evening!", "How are you?": "I am fine, thank you.", "Thank you.": "You are welcome.",
    "Goodbye.": "Goodbye!", "Who are you?": "I am nano, a very small model.", "What is your name?": "My name is nano.",
    "What can you do?": "I can describe simple pictures, write down speech and call tools.",
    "Good night.": "Good night!",
}  # fmt: skip
REPEATS = ("Say {}.", "Repeat: {}", "Repeat after me: {}", "Write {}.", "Please say {}.")
OPPOSITES = (
    ("hot", "cold"), ("big", "small"), ("old", "new"), ("happy", "sad"), ("left", "right"), ("open", "closed"),
    ("day", "night"), ("early", "late"), ("light", "dark"), ("high", "low"), ("fast", "slow"), ("good", "bad"),
)  # fmt: skip
CAPITALS = (
    ("France", "Paris"), ("England", "London"), ("Italy", "Rome"), ("Germany", "Berlin"), ("Spain", "Madrid"),
    ("Egypt", "Cairo"), ("Japan", "Tokyo"), ("Portugal", "Lisbon"), ("Austria", "Vienna"), ("Greece", "Athens"),
)  # fmt: skip
COLORED = (
    ("sky", "blue"),
    ("grass", "green"),
    ("snow", "white"),
    ("sun", "yellow"),
    ("night", "black"),
    ("milk", "white"),
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip


@dataclass(frozen=True)
class ToolRequest:
    """A request, the declared tools, and the one right answer."""

    tools: tuple[Tool, ...]
    request: str
    answer: str


def make_tool_call(split: Split, rng: random.Random) -> ToolRequest:
    """A request that one of 1 to 3 declared tools fits; its text belongs to `split`."""
    skill, values, request = draw(split, rng, _ask, lambda drawn: (drawn[2],))
    others = rng.sample([other for other in SKILLS if other is not skill], rng.randrange(3))
    tools = [declare(offered, rng) for offered in (skill, *others)]
    rng.shuffle(tools)
    call = {"name": skill.name, "arguments": dict(zip(skill.parameters, values, strict=True))}
    answer = f"functools[{json.dumps(call, ensure_ascii=False)}]"
    return ToolRequest(tuple(tools), request, answer)


def make_no_tool(split: Split, rng: random.Random) -> ToolRequest:
    """A request, or small talk, that none of 1 to 3 declared tools fits."""
    skill, _, request = draw(split, rng, _ask, lambda drawn: (drawn[2],))
    others = rng.sample([other for other in SKILLS if other is not skill], rng.randint(1, 3))
    tools = tuple(declare(other, rng) for other in others)
    if rng.random() < 0.5:
        return ToolRequest(tools, *make_chat(split, rng))
    return ToolRequest(tools, request, NO_TOOL)


def make_chat(split: Split, rng: random.Random, *, spoken: bool = False) -> tuple[str, str]:
    """Small talk or a simple fact and its answer, without digits if it is `spoken`.

    Sums belong to `split`; everything else is to be memorised and belongs to both splits.
    """
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice(tuple(GREETINGS.items()))
    if kind == 1:
        pair = rng.choice(OPPOSITES)
        word, opposite = pair if rng.random() < 0.5 else pair[::-1]
        return f"What is the opposite of {word}?", f"{opposite.capitalize()}."
    if kind == 2:
        country, city = rng.choice(CAPITALS)
        return f"What is the capital of {country}?", f"{city}."
    if kind == 3:
        thing, color = rng.choice(COLORED)
        return f"What color is the {thing}?", f"{color.capitalize()}."
    if kind == 4:
        day = rng.randrange(7)
        return f"What day comes after {DAYS[day]}?", f"{DAYS[(day + 1) % 7]}."
    return _sum(split, rng, in_words=spoken or rng.random() < 0.5)


def make_repeat(split: Split, rng: random.Random) -> tuple[str, str]:
    """A request to repeat some words (real ones, made-up ones, numbers), and those words."""

    def make(rng: random.Random) -> str:
        return " ".join(_word(rng) for _ in range(rng.randint(1, 4)))

    words = draw(split, rng, make, lambda text: ("repeat", text))
    return rng.choice(REPEATS).format(words), words


def _word(rng: random.Random) -> str:
    kind = rng.randrange(4)
    if kind == 0:
        return str(rng.randint(1, 99))
    if kind == 1:
        return _made_up_name(rng)
    if kind == 2:
        return _made_up_name(rng).lower()
    return rng.choice((*CITIES, *ITEMS, *NAMES))


def _sum(split: Split, rng: random.Random, *, in_words: bool) -> tuple[str, str]:
    def make(rng: random.Random) -> tuple[int, int]:
        return rng.randint(0, 10), rng.randint(0, 10)

    first, second = draw(split, rng, make, lambda pair: ("sum", str(pair[0]), str(pair[1])))
    if in_words:
        return f"What is {NUMBERS[first]} plus {NUMBERS[second]}?", f"{NUMBERS[first + second].capitalize()}."
    return f"What is {first} + {second}?", f"{first + second}."


def _ask(rng: random.Random) -> tuple[Skill, tuple[str | int, ...], str]:
    """A skill, values for its parameters, and a request that contains them."""
    skill = rng.choice(SKILLS)
    values = tuple(rng.choice(choices) for choices in skill.values)
    return skill, values, rng.choice(skill.requests).format(*values)


def _made_up_name(rng: random.Random) -> str:
    """A place name that does not exist, so that the model can only copy it."""
    return "".join(rng.choices(SYLLABLES, k=rng.randint(2, 3))).capitalize()


def declare(skill: Skill, rng: random.Random) -> Tool:
    """A tool for `skill`, its parameters as a JSON schema or as a plain dict of types."""
    numeric = [isinstance(choices[0], int) for choices in skill.values]
    described = rng.random() < 0.5
    if rng.random() < 0.5:
        kinds = ["integer" if number else "string" for number in numeric]
        properties = {
            name: _property(name, kind, described) for name, kind in zip(skill.parameters, kinds, strict=True)
        }
        parameters: dict[str, Any] = {"type": "object", "properties": properties, "required": list(skill.parameters)}
    else:
        kinds = ["int" if number else "str" for number in numeric]
        parameters = {
            name: _property(name, kind, described) for name, kind in zip(skill.parameters, kinds, strict=True)
        }
    return Tool(skill.name, rng.choice(skill.descriptions), parameters)


def _property(name: str, kind: str, described: bool) -> dict[str, str]:
    return {"type": kind, "description": f"The {name.replace('_', ' ')}."} if described else {"type": kind}
