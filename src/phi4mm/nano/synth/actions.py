"""Tools never seen twice, each with a request that it fits: verbs with nouns, or names that mean nothing.

The request determines the arguments; a parameter that it does not mention is left out.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from phi4mm.nano.synth import dialogue, strings
from phi4mm.nano.synth.example import Language
from phi4mm.nano.synth.skills import CITIES, NAMES, SKILLS
from phi4mm.protocol.messages import Tool

VERBS = (
    "find", "book", "buy", "sell", "cancel", "open", "close", "start", "stop", "clean", "repair", "paint", "delete",
    "move", "lock", "print", "share", "weigh", "draw", "cook", "rent", "count", "test", "save",
)  # fmt: skip
NOUNS = (
    "table", "room", "taxi", "boat", "car", "bicycle", "pizza", "cake", "salad", "lamp", "photo", "letter", "ticket",
    "tour", "course", "lesson", "meeting", "party", "concert", "film", "garden", "window", "door", "gate", "chair",
    "desk", "shirt", "coat", "hat", "bag", "box", "phone", "camera", "printer", "robot", "machine", "file", "folder",
    "list", "note", "report", "bill", "account", "flight", "bus", "bed", "dog", "cat", "horse", "tree", "flower",
    "house", "flat", "shop", "museum", "bridge", "card", "game", "song", "plan", "map", "contract", "parcel",
)  # fmt: skip
ASKING = (
    "{}.", "{}.", "{}.", "Please {}.", "Can you {}?", "Could you {}?", "I want to {}.", "I would like to {}.", "{}",
    "I need to {}.", "Please {} for me.", "{}, please.",
)  # fmt: skip
DESCRIBING = ("{}.", "{}", "A tool to {}.", "This can {}.", "Use this to {}.", "Helps to {}.")
CALLING = (
    "Call {name} with {named}.", "Use {name} with {named}.", "Run {name} with {named}.", "{name}: {named}",
    "Please call {name}, {named}.", "Can you run {name} with {named}?", "I need {name} with {named}.",
)  # fmt: skip
SAYABLE = {*CITIES, *NAMES, *dialogue.DAYS, *map(str, range(2, 21))}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a tool: JSON type, allowed values (empty for any), and whether it must be given."""

    name: str
    kind: str
    choices: tuple[str, ...] = ()
    required: bool = True


@dataclass(frozen=True)
class Offer:
    """A declared tool, a request that it fits, and the arguments that the request states, in declared order.

    deed      what the tool does, such as "book a boat"; no two tools of a conversation do the same
    language  of the request
    """

    deed: str
    tool: Tool
    request: str
    arguments: dict[str, Any]
    language: Language = "en"

    def call(self) -> dict[str, Any]:
        """The call as a JSON value."""
        return {"name": self.tool.name, "arguments": self.arguments}


@dataclass(frozen=True)
class Detail:
    """A detail of a request: names of its parameter, its type, its phrase, and how a value is drawn."""

    names: tuple[str, ...]
    kind: str
    phrase: str
    value: Callable[[random.Random], Any]
    sayable: bool = True


DETAILS = (
    Detail(("city", "place", "location"), "string", "in {}", lambda rng: _place(rng)),
    Detail(("date", "day"), "string", "on {}", lambda rng: rng.choice(dialogue.DAYS)),
    Detail(("date", "day"), "string", "on {}", lambda rng: strings.iso_date(rng), False),
    Detail(("time", "start_time"), "string", "at {}", lambda rng: strings.clock(rng), False),
    Detail(("people", "persons", "guests"), "integer", "for {} people", lambda rng: rng.randint(2, 30)),
    Detail(("minutes", "duration"), "integer", "for {} minutes", lambda rng: rng.randint(2, 90)),
    Detail(("user", "name", "customer"), "string", "for {}", lambda rng: _person(rng)),
    Detail(("max_price", "limit"), "number", "under {} euros", lambda rng: _amount(rng), False),
    Detail(("distance", "radius"), "number", "within {} km", lambda rng: _amount(rng), False),
    Detail(("repeat", "times"), "integer", "{} times", lambda rng: rng.randint(2, 20)),
    Detail(("code", "id", "key"), "string", "with the code {}", lambda rng: strings.key(rng), False),
    Detail(("title", "text", "label"), "string", 'with the title "{}"', lambda rng: strings.phrase(rng, 4), False),
    Detail(("tags", "words"), "array", "with the tags {}", lambda rng: _several(rng, strings.plain_word), False),
    Detail(("friends", "members"), "array", "together with {}", lambda rng: _several(rng, _person)),
)
SWITCHES = ("breakfast", "insurance", "music", "express", "sound", "garden", "receipt", "sugar", "help", "lights")


def make_offer(rng: random.Random, *, spoken: bool = False) -> Offer:
    """A tool with a request, of any sort; a `spoken` request has no digits and no signs."""
    sort = rng.random()
    if sort < 0.2:
        return _known(rng, spoken)
    return natural_offer(rng, spoken=spoken) if spoken or sort < 0.65 else _named_offer(rng)


def natural_offer(rng: random.Random, verb: str = "", noun: str = "", *, spoken: bool = False) -> Offer:
    """A verb and a noun with details in words: `Book a boat in Rome for 3 people.`"""
    verb = verb or rng.choice(VERBS)
    noun = noun or (rng.choice(NOUNS) if spoken or rng.random() < 0.7 else strings.plain_word(rng))
    deed = f"{verb} {'an' if noun[0] in 'aeiou' else 'a'} {noun}"
    parameters, arguments, phrases = [], {}, []
    for parameter, value, phrase in _details(rng, spoken):
        parameters.append(parameter)
        if parameter.required or rng.random() < 0.5:
            arguments[parameter.name] = value
            phrases.append(phrase)
    rng.shuffle(phrases)
    request = _sentence(rng.choice(ASKING).format(" ".join((deed, *phrases))), rng)
    name = rng.choice((f"{verb}_{noun}", f"{verb}_{noun}", f"{noun}_{verb}", f"{verb}{noun.capitalize()}"))
    described = rng.random() < 0.8
    if rng.random() < 0.15:
        name, described = strings.tool_name(rng), True
    description = _sentence(rng.choice(DESCRIBING).format(deed), rng) if described else ""
    return Offer(deed, declare(name, description, parameters, rng), request, arguments)


def similar_offer(offer: Offer, rng: random.Random) -> Offer:
    """A natural tool that shares its verb or its noun with `offer`, but not both."""
    verb, *_, noun = offer.deed.split() if " " in offer.deed else (rng.choice(VERBS), "")
    if rng.random() < 0.5:
        return natural_offer(rng, verb, rng.choice([other for other in NOUNS if other != noun]))
    return natural_offer(rng, rng.choice([other for other in VERBS if other != verb]), noun)


def declare(name: str, description: str, parameters: Sequence[Parameter], rng: random.Random) -> Tool:
    """A tool with its parameters as a JSON schema, or as a dict of Python types as in the model card."""
    described = rng.random() < 0.4
    if rng.random() < 0.5:
        properties = {parameter.name: _schema(parameter, described) for parameter in parameters}
        required = [parameter.name for parameter in parameters if parameter.required]
        return Tool(name, description, {"type": "object", "properties": properties, "required": required})
    return Tool(name, description, {parameter.name: _typed(parameter, described, rng) for parameter in parameters})


def _known(rng: random.Random, spoken: bool) -> Offer:
    skill = rng.choice([skill for skill in SKILLS if not (spoken and isinstance(skill.values[0][0], int))])
    values = [rng.choice(choices) for choices in skill.values]
    arguments = dict(zip(skill.parameters, values, strict=True))
    return Offer(skill.name, dialogue.declare(skill, rng), rng.choice(skill.requests).format(*values), arguments)


def _named_offer(rng: random.Random) -> Offer:
    """A tool and parameters whose names mean nothing, which the request names: `Call velm with kor = 5.`"""
    name = strings.tool_name(rng)
    names = list(dict.fromkeys(strings.plain_word(rng) for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4)))))
    parameters, arguments = [], {}
    for each in names:
        parameter, value = _named_parameter(each, rng)
        parameters.append(parameter)
        if parameter.required or rng.random() < 0.5:
            arguments[each] = value
    description = "" if rng.random() < 0.5 else f"{strings.phrase(rng, 4).capitalize()}."
    stated = list(arguments.items())
    rng.shuffle(stated)
    return Offer(name, declare(name, description, parameters, rng), _state(name, stated, rng), arguments)


def _state(name: str, stated: list[tuple[str, Any]], rng: random.Random) -> str:
    if not stated:
        return rng.choice(("Call {}.", "Run {}.", "Use {}.", "Please run {}.", "{}()")).format(name)
    if rng.random() < 0.25:
        return f"{name}({', '.join(f'{each}={json.dumps(value, ensure_ascii=False)}' for each, value in stated)})"
    sign = rng.choice((" = ", ": ", " ", " set to "))
    named = [f"{each}{sign}{json.dumps(value, ensure_ascii=False)}" for each, value in stated]
    return rng.choice(CALLING).format(name=name, named=rng.choice((", ", " and ")).join(named))


def _named_parameter(name: str, rng: random.Random) -> tuple[Parameter, Any]:
    required = rng.random() < 0.7
    kind = rng.choice(("string", "string", "string", "integer", "number", "boolean", "array", "enum"))
    if kind == "enum":
        choices = tuple(dict.fromkeys(strings.plain_word(rng) for _ in range(rng.randint(2, 4))))
        return Parameter(name, "string", choices, required), rng.choice(choices)
    value: Any
    if kind == "string":
        value = rng.choice((strings.code, strings.date, strings.identifier))(rng)
        value = strings.phrase(rng, 5) if rng.random() < 0.5 else value
    elif kind == "array":
        value = [rng.choice((strings.plain_word, strings.made_up_name))(rng) for _ in range(rng.randint(1, 3))]
    else:
        value = {
            "integer": rng.randrange(10 ** rng.randint(1, 5)),
            "number": _amount(rng),
            "boolean": rng.random() < 0.5,
        }
        value = value[kind]
    return Parameter(name, kind, (), required), value


def _details(rng: random.Random, spoken: bool) -> list[tuple[Parameter, Any, str]]:
    """Parameters with values and phrases, of different names and phrases."""
    found: dict[str, tuple[Parameter, Any, str]] = {}
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4))):
        parameter, value, phrase = _detail(rng, spoken)
        if parameter.name not in found and phrase.split()[:1] not in [one[2].split()[:1] for one in found.values()]:
            found[parameter.name] = parameter, value, phrase
    return list(found.values())


def _detail(rng: random.Random, spoken: bool) -> tuple[Parameter, Any, str]:
    required, style = rng.random() < 0.6, rng.random()
    if style < 0.12:
        name, on = rng.choice(SWITCHES), rng.random() < 0.6
        return Parameter(name, "boolean", (), required), on, f"{'with' if on else 'without'} {name}"
    if style < 0.3 and not spoken:
        parameter, value = _named_parameter(strings.plain_word(rng), rng)
        return parameter, value, f"with {parameter.name} {json.dumps(value, ensure_ascii=False)}"
    detail = rng.choice([detail for detail in DETAILS if detail.sayable or not spoken])
    value = detail.value(rng)
    while spoken and not SAYABLE.issuperset(value if isinstance(value, list) else [str(value)]):
        value = detail.value(rng) if detail.kind != "integer" else rng.choice(range(2, 21))
    said = _enumerate(value) if isinstance(value, list) else str(value)
    if spoken and isinstance(value, int):
        said = dialogue.NUMBERS[value]
    return Parameter(rng.choice(detail.names), detail.kind, (), required), value, detail.phrase.format(said)


def _schema(parameter: Parameter, described: bool) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": parameter.kind}
    if parameter.kind == "array":
        schema["items"] = {"type": "string"}
    if parameter.choices:
        schema["enum"] = list(parameter.choices)
    return schema | ({"description": f"The {parameter.name.replace('_', ' ')}."} if described else {})


TYPES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "array": "list"}
DEFAULTS: dict[str, Any] = {"string": "", "integer": 1, "number": 1.5, "boolean": False, "array": []}


def _typed(parameter: Parameter, described: bool, rng: random.Random) -> dict[str, Any]:
    entry: dict[str, Any] = {"description": f"The {parameter.name.replace('_', ' ')}."} if described else {}
    entry["type"] = TYPES[parameter.kind]
    if parameter.choices:
        entry["enum"] = list(parameter.choices)
    if not parameter.required:
        entry["default"] = rng.choice(parameter.choices) if parameter.choices else DEFAULTS[parameter.kind]
    return entry


def _sentence(text: str, rng: random.Random) -> str:
    return text[0].upper() + text[1:] if rng.random() < 0.9 else text


def _several(rng: random.Random, one: Callable[[random.Random], str]) -> list[str]:
    return list(dict.fromkeys(one(rng) for _ in range(rng.randint(1, 3))))


def _enumerate(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _place(rng: random.Random) -> str:
    return rng.choice(CITIES) if rng.random() < 0.5 else strings.plain_word(rng).capitalize()


def _person(rng: random.Random) -> str:
    return rng.choice(NAMES) if rng.random() < 0.5 else strings.plain_word(rng).capitalize()


def _amount(rng: random.Random) -> int | float:
    return rng.randint(1, 500) if rng.random() < 0.6 else rng.randint(1, 9999) / 10
