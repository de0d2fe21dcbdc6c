"""Answers under a JSON schema: the user gives a schema, or names of keys, and a text; the answer is an object.

The text states values as the sentences of results.py do, or as rows; what the schema does not ask for is left out.
"""

from __future__ import annotations

import json
import random
from typing import Any

from phi4mm.nano.synth import results, strings
from phi4mm.nano.synth.example import Example, Speaker
from phi4mm.nano.synth.split import Split, draw
from phi4mm.protocol.messages import Message

TASKS = ("form",)
ASKING = (
    "Answer with JSON that fits this schema: {schema}\n\n{text}",
    "{text}\n\nGive this as JSON with the schema {schema}",
    "Extract the data as JSON.\nSchema: {schema}\nText: {text}", "Schema: {schema}\n\nText: {text}\n\nJSON:",
    "Fill this JSON schema from the text.\n\n{schema}\n\n{text}", "{schema}\n\nAnswer in this schema. {text}",
)  # fmt: skip
NAMING = (
    "{text}\n\nGive this as JSON with the keys {keys}.", "Answer with a JSON object with the keys {keys}. {text}",
    "Extract {keys} as JSON.\n\n{text}", "Text: {text}\nJSON with {keys}:",
)  # fmt: skip
SYSTEM = (
    "Answer with JSON that fits this schema: {}",
    "You answer in JSON. Schema: {}",
    "Always answer in this JSON schema: {}",
)


def make(task: str, split: Split, rng: random.Random, _speak: Speaker) -> Example:
    """A text and a schema; the values of the answer belong to `split`."""

    def make(rng: random.Random) -> tuple[dict[str, Any], dict[str, Any]]:
        fields = [_field(rng) for _ in range(rng.choice((1, 2, 2, 3, 3, 4, 6)))]
        return {name: value for name, value, _ in fields}, {name: schema for name, _, schema in fields}

    values, properties = draw(split, rng, make, lambda drawn: ("form", json.dumps(drawn[0], ensure_ascii=False)))
    answer = json.dumps(values, ensure_ascii=False)
    text = _text(values, rng)
    if rng.random() < 0.25 and not any(_looks_numeric(value) for value in values.values()):
        request = rng.choice(NAMING).format(text=text, keys=results.enumerate_words(list(values)))
        return Example(task, (Message.user(request),), (), answer)
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": list(properties)}
    if rng.random() < 0.5:
        schema["additionalProperties"] = False
    written = json.dumps(schema, ensure_ascii=False, indent=2 if rng.random() < 0.15 else None)
    if rng.random() < 0.25:
        return Example(task, (Message.system(rng.choice(SYSTEM).format(written)), Message.user(text)), (), answer)
    return Example(task, (Message.user(rng.choice(ASKING).format(schema=written, text=text)),), (), answer)


def _looks_numeric(value: Any) -> bool:
    """Whether only a schema could tell that a value is a string."""
    return isinstance(value, str) and value.replace(".", "").isdigit()


def _field(rng: random.Random) -> tuple[str, Any, dict[str, Any]]:
    """A name, a value, and the schema of the value."""
    name = rng.choice(results.NAMES) if rng.random() < 0.6 else strings.plain_word(rng)
    style = rng.randrange(7)
    if style == 0:
        return name, rng.randrange(10 ** rng.randint(1, 5)), {"type": "integer"}
    if style == 1:
        return name, rng.randint(1, 9999) / rng.choice((10, 100)), {"type": "number"}
    if style == 2:
        choices = list(dict.fromkeys(strings.plain_word(rng) for _ in range(rng.randint(2, 4))))
        return name, rng.choice(choices), {"type": "string", "enum": choices}
    if style == 3:
        several = list(dict.fromkeys(strings.plain_word(rng) for _ in range(rng.randint(1, 4))))
        return name, several, {"type": "array", "items": {"type": "string"}}
    if style == 4:
        return rng.choice(results.ADJECTIVES), rng.random() < 0.5, {"type": "boolean"}
    value = strings.phrase(rng, 3) if style == 5 else rng.choice((strings.key, strings.clock, strings.iso_date))(rng)
    return name, value, {"type": "string"}


def _text(values: dict[str, Any], rng: random.Random) -> str:
    """The values in a sentence, or one a row, among others that are not asked for; in any order."""
    stated = list(values.items())
    for _ in range(rng.choice((0, 0, 1, 2))):
        name, value, _ = _field(rng)
        if name not in values:
            stated.append((name, value))
    rng.shuffle(stated)
    if rng.random() < 0.35:
        sign = rng.choice((": ", " = "))
        return "\n".join(f"{name}{sign}{results.said(value)}" for name, value in stated)
    clauses = [results.clause(name, value) for name, value in dict(stated).items()]
    if rng.random() < 0.5:
        return " ".join(f"{clause[0].upper()}{clause[1:]}." for clause in clauses)
    text = results.enumerate_words(clauses)
    return f"{text[0].upper()}{text[1:]}."
