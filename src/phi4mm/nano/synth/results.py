"""Results of tools, and the one sentence that states each of them.

An object gives `The price is 12 and the owner is Velm.`, with `it is open` or `it is not open` for a boolean; a
list gives `I found Velm and Kor.`, nothing `I found nothing.`, an error `The tool failed: no such city.`; a text is
said again.
"""

from __future__ import annotations

import json
import random
from typing import Any

from phi4mm.nano.synth import sentences, strings
from phi4mm.nano.synth.split import Split

NOTHING = "I found nothing."
NAMES = (
    "price", "owner", "time", "date", "city", "number", "name", "address", "color", "size", "weight", "distance",
    "temperature", "status", "total", "code", "phone", "language", "speed", "height", "platform", "seat", "room",
    "street", "author", "title", "score", "age", "amount", "product", "country", "order_number", "first_name", "unit",
)  # fmt: skip
ADJECTIVES = (
    "open",
    "ready",
    "available",
    "free",
    "paid",
    "full",
    "late",
    "new",
    "locked",
    "confirmed",
    "safe",
    "done",
)
ERRORS = (
    "not found", "no connection", "permission denied", "time out", "unknown city", "no such user", "invalid date",
    "the server is busy", "out of stock", "unknown code", "too many requests", "the room is full",
)  # fmt: skip


def make_result(split: Split, rng: random.Random) -> tuple[str, str, dict[str, str]]:
    """The text of a result, the sentence that states it, and the clause of each named value."""
    style = rng.random()
    if style < 0.62:
        return _object(rng)
    if style < 0.76:
        found = list(dict.fromkeys(strings.phrase(rng, 2) for _ in range(rng.choice((0, 1, 2, 2, 3, 4)))))
        return _dump(found, rng), f"I found {enumerate_words(found)}." if found else NOTHING, {}
    if style < 0.84:
        error = rng.choice(ERRORS) if rng.random() < 0.6 else strings.phrase(rng, 4)
        return _dump({"error": error}, rng), f"The tool failed: {error}.", {}
    if style < 0.88:
        return "null", NOTHING, {}
    if style < 0.94:
        value = rng.choice((strings.key, strings.clock, strings.number, strings.iso_date))(rng)
        return value, f"The result is {value}.", {}
    text = sentences.make_sentence(split, rng)
    return text, text, {}


def _object(rng: random.Random) -> tuple[str, str, dict[str, str]]:
    result: dict[str, Any] = {}
    for _ in range(rng.choice((1, 1, 2, 2, 3, 4, 5))):
        if rng.random() < 0.15:
            name, holds = rng.choice(ADJECTIVES), rng.random() < 0.5
            result[name] = holds
        else:
            name = rng.choice(NAMES) if rng.random() < 0.7 else strings.plain_word(rng)
            result[name] = _value(rng)
    clauses = {name: clause(name, value) for name, value in result.items()}
    stated = enumerate_words(list(clauses.values()))
    return _dump(result, rng), f"{stated[0].upper()}{stated[1:]}.", clauses


def clause(name: str, value: Any) -> str:
    """`the price is 12`, `it is open`, `it is not open`."""
    if isinstance(value, bool):
        return f"it is {'' if value else 'not '}{name}"
    return f"the {name.replace('_', ' ')} is {said(value)}"


def enumerate_words(words: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _value(rng: random.Random) -> Any:
    style = rng.randrange(6)
    if style == 0:
        return rng.randrange(10 ** rng.randint(1, 5))
    if style == 1:
        return rng.randint(1, 9999) / rng.choice((10, 100))
    if style == 2:
        return list(dict.fromkeys(strings.plain_word(rng) for _ in range(rng.randint(1, 3))))
    return strings.phrase(rng, 2) if style < 5 else rng.choice((strings.key, strings.clock, strings.iso_date))(rng)


def said(value: Any) -> str:
    """A value in words: true and false as `yes` and `no`, a list enumerated."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return enumerate_words(value) if isinstance(value, list) else str(value)


def _dump(value: Any, rng: random.Random) -> str:
    style = rng.randrange(4)
    if style == 0:
        return json.dumps(value, ensure_ascii=False, indent=2)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":") if style == 1 else None)
