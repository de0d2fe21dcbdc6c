"""Which schemas are taken: oneOf of branches told apart, uniqueItems, unknown formats."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from phi4mm.errors import InputError
from phi4mm.processing.json_schema import MAX_BRANCHES, MAX_SCHEMA, schema_text
from phi4mm.processing.structured import Grammars
from phi4mm.processing.tokenizer import Special, Tokenizer
from phi4mm.protocol.request import ResponseFormat
from tests.processing.test_structured import accepts, compiled


@pytest.fixture(scope="module")
def grammars(tokenizer: Tokenizer) -> Grammars:
    return Grammars(tokenizer, tokenizer.size, (tokenizer.id(Special.END),))


def record(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


CAT = record(kind={"const": "cat"}, lives={"type": "integer"})
DOG = record(kind={"const": "dog"}, name={"type": "string"})
NODE = {"oneOf": [{"type": "null"}, record(next={"$ref": "#/$defs/Node"})]}
DEFINED = {"Cat": CAT, "Dog": DOG, "Kind": {"const": "dog"}}
BY_NAME = [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (
            {"oneOf": [CAT, DOG]},
            ['{"kind": "cat", "lives": 9}', '{"kind": "dog", "name": "Rex"}'],
            ['{"kind": "dog", "lives": 9}'],
        ),
        ({"oneOf": BY_NAME, "$defs": DEFINED}, ['{"kind": "dog", "name": "Rex"}'], ['{"kind": "cat", "name": "Rex"}']),
        (
            {"oneOf": BY_NAME, "discriminator": {"propertyName": "kind"}, "$defs": DEFINED},
            ['{"kind": "cat", "lives": 9}'],
            ["1"],
        ),
        (
            {"oneOf": [CAT, record(kind={"$ref": "#/$defs/Kind"})], "$defs": DEFINED},
            ['{"kind": "dog"}'],
            ['{"kind": "cat"}'],
        ),
        ({"items": {"oneOf": BY_NAME}, "type": "array", "$defs": DEFINED}, ['[{"kind": "cat", "lives": 9}]'], ["[1]"]),
        (
            {"oneOf": [{"type": "integer"}, {"type": "string"}, CAT]},
            ["1", '"a"', '{"kind": "cat", "lives": 9}'],
            ["true", "[]"],
        ),
        ({"oneOf": [{"type": ["integer", "null"]}, {"enum": ["a", "b"]}]}, ["1", "null", '"b"'], ['"c"']),
        ({"oneOf": [{"$ref": "#/$defs/Node"}], "$defs": {"Node": NODE}}, ['{"next": {"next": null}}'], ['{"next": 1}']),
        ({"type": "string", "format": "color"}, ['"red"'], ["1"]),
        ({"type": ["string", "null"], "format": "int32"}, ["null", '"x"'], ["1"]),
        ({"type": "string", "format": "date"}, ['"2026-11-26"'], ['"red"']),
        (record(format={"const": "color"}), ['{"format": "color"}'], ['{"format": "date"}']),
        ({"enum": [{"format": "color"}]}, ['{"format": "color"}'], ["{}"]),
        ({"type": "array", "items": {"const": 1}, "uniqueItems": False}, ["[1, 1]"], ["[2]"]),
    ],
)
def test_case_c_schemas_as_people_write_them(
    grammars: Grammars, schema: dict[str, Any], good: list[str], bad: list[str]
) -> None:
    """Unions of classes come as a oneOf of references; a format that nobody knows is a comment."""
    for text in good:
        assert accepts(grammars, compiled(grammars, ResponseFormat(schema=schema)), text), text
    for text in bad:
        assert not accepts(grammars, compiled(grammars, ResponseFormat(schema=schema)), text), text


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"items": {"type": "array", "uniqueItems": True}}, "uniqueItems"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf"),
        ({"oneOf": [{"enum": [1, 2]}, {"const": 2.0}]}, "oneOf"),
        ({"oneOf": [{"const": [1]}, {"const": [1.0]}]}, "oneOf"),
        ({"oneOf": [{"properties": {"a": {"const": n}}, "required": ["a"]} for n in (1, 2)]}, "oneOf"),
        ({"oneOf": [{"type": "object", "properties": {"a": {"const": name}}} for name in "xy"]}, "oneOf"),
        ({"oneOf": BY_NAME * 2, "$defs": DEFINED}, "oneOf"),
        ({"oneOf": [{"$ref": "#/$defs/Gone"}, CAT]}, "oneOf|Gone"),
        ({"oneOf": [{"type": [[]]}, {"type": 5}]}, "type"),
    ],
)
def test_case_c_what_cannot_be_enforced_is_refused_by_name(
    grammars: Grammars, schema: dict[str, Any], named: str
) -> None:
    """A value that two branches allow must be refused, and a grammar cannot do it; nor can it remember items."""
    with pytest.raises(InputError, match=named):
        compiled(grammars, ResponseFormat(schema=schema))


def test_hostile_branches_are_compared_in_bounded_time() -> None:
    """Every branch against every other, each with the most properties, by references that lead to references."""
    many = {f"p{n}": {"$ref": f"#/$defs/r{n % 7}"} for n in range(150)}
    wide = {"type": "object", "properties": many, "required": list(many)}
    chain = {f"r{n}": {"$ref": f"#/$defs/r{n + 1}"} for n in range(7)} | {
        "r7": {"type": "string"},
        "a": wide,
        "b": {**wide, "title": "b"},
    }
    schema = {
        "$defs": chain,
        "items": [{"oneOf": [{"$ref": f"#/$defs/{'ab'[n % 2]}"} for n in range(MAX_BRANCHES)]}] * 40,
    }
    begin = time.perf_counter()
    text = schema_text(schema, "the schema")
    assert "anyOf" not in json.loads(text)["items"][0]
    assert len(text) <= MAX_SCHEMA
    assert time.perf_counter() - begin < 2
