"""`not`, `if`, `oneOf` and dependencies in the keywords of the library: exactly the values that the standard says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4mm.errors import InputError
from phi4mm.processing.json_schema import schema_text
from phi4mm.processing.structured import Grammars
from phi4mm.processing.tokenizer import Special, Tokenizer
from phi4mm.protocol.request import ResponseFormat
from tests.processing.test_structured import accepts, compiled

SCALARS = [None, True, False, -1, 0, 1, 2, 1.5, -0.5, 30, "", "a", "ab", "abc", "é", "b\n", '"', "\\"]
VALUES: list[Any] = [
    *SCALARS,
    *([], [1], [1, "a"], ["a", "b", None], {}),
    *({name: value} for name in "abd" for value in (0, 1, "a", "ab", True)),
    *({"a": one, "b": other} for one in (0, 1, "a") for other in (1, "a", "b\n", None)),
    *({"a": 1, "b": 1, "c": 1}, {"a": 1, "c": "a"}, {"b": 1, "c": 2}, {"c": 1}),
]


@pytest.fixture(scope="module")
def grammars(tokenizer: Tokenizer) -> Grammars:
    return Grammars(tokenizer, tokenizer.size, (tokenizer.id(Special.END),))


def fits(value: Any, schema: Any) -> bool:
    """The standard's own words, for the keywords below."""
    return schema if isinstance(schema, bool) else all(holds(value, key, schema) for key in schema)


def equal(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def is_type(value: Any, name: str) -> bool:
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    if name in kinds:
        return isinstance(value, kinds[name])
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and (name == "number" or float(value).is_integer())
    )


def holds(value: Any, key: str, schema: dict[str, Any]) -> bool:
    given = schema[key]
    rules: dict[str, Callable[[], bool]] = {
        "type": lambda: any(is_type(value, name) for name in ([given] if isinstance(given, str) else given)),
        "const": lambda: equal(value, given),
        "enum": lambda: any(equal(value, each) for each in given),
        "minimum": lambda: not is_type(value, "number") or value >= given,
        "maximum": lambda: not is_type(value, "number") or value <= given,
        "exclusiveMinimum": lambda: not is_type(value, "number") or value > given,
        "exclusiveMaximum": lambda: not is_type(value, "number") or value < given,
        "minLength": lambda: not isinstance(value, str) or len(value) >= given,
        "maxLength": lambda: not isinstance(value, str) or len(value) <= given,
        "minItems": lambda: not isinstance(value, list) or len(value) >= given,
        "maxItems": lambda: not isinstance(value, list) or len(value) <= given,
        "required": lambda: not isinstance(value, dict) or all(name in value for name in given),
        "properties": lambda: (
            not isinstance(value, dict)
            or all(fits(value[name], inner) for name, inner in given.items() if name in value)
        ),
        "dependentRequired": lambda: (
            not isinstance(value, dict)
            or all(all(need in value for need in needed) for name, needed in given.items() if name in value)
        ),
        "not": lambda: not fits(value, given),
        "allOf": lambda: all(fits(value, inner) for inner in given),
        "anyOf": lambda: any(fits(value, inner) for inner in given),
        "oneOf": lambda: sum(fits(value, inner) for inner in given) == 1,
        "if": lambda: fits(value, schema.get("then" if fits(value, given) else "else", True)),
    }
    return rules[key]() if key in rules else key in ("then", "else", "title", "format")


TYPES = st.sampled_from(["string", "number", "integer", "object", "array", "boolean", "null"])
LEAVES = st.fixed_dictionaries(
    {},
    optional={
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
        "const": st.sampled_from(SCALARS),
        "enum": st.lists(st.sampled_from(SCALARS), min_size=1, max_size=4),
        "minimum": st.integers(-1, 2),
        "exclusiveMaximum": st.sampled_from([0, 1.5, 2]),
        "minLength": st.integers(0, 2),
        "maxLength": st.integers(0, 2),
        "maxItems": st.integers(0, 2),
        "title": st.just("t"),
        "format": st.just("color"),
    },
).map(lambda schema: dict(list(schema.items())[:3]))
OBJECTS = st.fixed_dictionaries(
    {},
    optional={
        "properties": st.dictionaries(st.sampled_from("abc"), LEAVES, min_size=1, max_size=2),
        "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
        "type": st.just("object"),
    },
)
SCHEMAS = st.recursive(
    LEAVES | OBJECTS | st.booleans(),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "not": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=3),
            "if": inner,
            "then": inner,
            "else": inner,
            "dependentRequired": st.dictionaries(st.sampled_from("abc"), st.lists(st.sampled_from("abc")), max_size=2),
            "type": TYPES,
        },
    ).map(lambda schema: dict(list(schema.items())[:4])),
    max_leaves=5,
)
REFUSED = r"Unimplemented keys|oneOf constraints|[Uu]nsatisfiable|no text fits|too large|[Tt]oo many|stack level"


@settings(deadline=None, max_examples=40)
@given(SCHEMAS)
def test_a8_exactly_the_values_are_accepted_that_fit(grammars: Grammars, schema: Any) -> None:
    """Requirement a8: none that the schema forbids, and none refused that it allows."""
    whole = {"properties": {name: {} for name in "abcd"}, "allOf": [schema]}  # which fixes the order of properties
    try:
        matcher = compiled(grammars, ResponseFormat(schema=whole))
    except InputError as error:
        if "nsatisfiable" in str(error) or "no text fits" in str(error):
            assert not [value for value in VALUES if fits(value, schema)]
        return
    texts = [json.dumps(value, ensure_ascii=False) for value in VALUES]
    found = {text: accepts(grammars, matcher.fork(), text) for text in texts}
    wrong = {text: found[text] for value, text in zip(VALUES, found, strict=True) if found[text] != fits(value, schema)}
    assert wrong == {}, schema_text(whole, "")
