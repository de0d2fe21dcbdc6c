"""Which schemas are taken: oneOf of branches told apart, uniqueItems, unknown formats."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
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
AB: dict[str, Any] = {"a": {}, "b": {}}
EITHER = [{"required": ["a"]}, {"required": ["b"]}]
CONDITIONAL = {
    "properties": {"a": {"enum": ["x", "y"]}, "b": {"type": "integer"}, "c": {}},
    "if": {"properties": {"a": {"const": "x"}}, "required": ["a"]},
    "then": {"required": ["b"]},
    "else": {"required": ["c"]},
}
TREE = {
    "type": "object",
    "properties": {"v": {}, "w": {}, "m": {"$ref": "#/$defs/Tree"}},
    "not": {"required": ["v", "w"]},
}
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
        ({"oneOf": [{"enum": [1, 2]}, {"const": 2.0}]}, ["1"], ["2", "3"]),
        (
            {"oneOf": [{"properties": {"a": {"const": n}}, "required": ["a"]} for n in (1, 2)]},
            ['{"a": 1}', '{"a": 2}'],
            ["3", '{"a": 3}', "{}"],
        ),
        (
            {"properties": AB, "oneOf": EITHER},
            ['{"a": 1}', '{"b": 1}'],
            ["{}", '{"a": 1, "b": 1}'],
        ),
        ({"oneOf": [{"type": "object", "properties": {"a": {"const": x}}} for x in "xy"]}, ['{"a": "x"}'], ["{}"]),
        ({"type": "string", "not": {"enum": ["a", "b\n"]}}, ['""', '"b"', '"ab"', '"\\n"'], ['"a"', '"b\\n"']),
        ({"type": "number", "not": {"enum": [0, 2.5]}}, ["2", "2.51", "-3"], ["0", "-0", "0.0", "2.5", "2.50"]),
        ({"not": {"type": ["object", "null"]}}, ["1", "[]", '"a"'], ["null", "{}"]),
        ({"type": "object", "not": {"required": ["a", "b"]}}, ['{"a": 1}', "{}"], ['{"a": 1, "b": 2}']),
        (CONDITIONAL, ['{"a": "x", "b": 1}', '{"a": "y", "c": 1}', '{"c": 1}'], ['{"a": "x", "c": 1}', "{}"]),
        ({"propertyNames": {"pattern": "^[a-z]+$"}}, ['{"a": 1}', "{}", "3"], ['{"A": 1}', '{"a1": 2}']),
        (
            {
                "properties": {"a": {"type": "integer"}, "B": {}},
                "propertyNames": {"pattern": "^[a-z]+$"},
                "additionalProperties": {"type": "string"},
            },
            ['{"a": 1, "c": "x"}'],
            ['{"a": "x"}', '{"B": 1}', '{"c": 1}'],
        ),
        ({"propertyNames": {"enum": ["a", "b.c"]}}, ['{"a": 1}', '{"b.c": 1}'], ['{"bxc": 1}', '{"ab.c": 1}']),
        (
            {"propertyNames": {"type": "string", "minLength": 1, "maxLength": 2}},
            ['{"é": 1}', '{"\\n\\"": 1}'],
            ['{"": 1}', '{"abc": 1}'],
        ),
        ({"propertyNames": False}, ["{}", "1"], ['{"a": 1}']),
        ({"type": "string", "maxLength": 1.0}, ['"b"'], ['"ab"']),
        ({"type": "string", "then": {"const": "a"}}, ['"b"'], ["1"]),
        ({"properties": AB, "dependentRequired": {"a": ["b"]}}, ['{"a": 1, "b": 2}', "{}", "1"], ['{"a": 1}']),
        ({"properties": AB, "dependencies": {"a": {"required": ["b"]}}}, ['{"a": 1, "b": 2}', "{}"], ['{"a": 1}']),
        ({"$ref": "#/$defs/Tree", "$defs": {"Tree": TREE}}, ['{"v": 1, "m": {}}'], ['{"m": {"v": 1, "w": 2}}']),
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
        ({"oneOf": [{"const": [1]}, {"const": [1.0]}]}, "oneOf"),
        ({"oneOf": [{"pattern": "^a"}, {"pattern": "b$"}]}, "oneOf"),
        ({"oneOf": [{"minLength": 1}, {"maxLength": 2}], "anyOf": [{}], "allOf": 3}, "oneOf|allOf"),
        ({"not": {"type": "integer"}}, "not"),
        ({"not": {"const": [1]}}, "not"),
        ({"not": {"enum": ["x" * 3000]}}, "not"),
        ({"not": {"const": 2**60}}, "not"),
        ({"not": {"format": "date"}}, "not"),
        ({"not": {"properties": {"a": {"items": {}}}}}, "not"),
        ({"not": {"$ref": "#"}}, "not"),
        ({"not": {"$ref": "#/$defs/a"}, "$defs": {"a": {"not": {"anyOf": [{"$ref": "#/$defs/a"}]}}}}, "not"),
        ({"propertyNames": {"pattern": "a", "minLength": 3}}, "propertyNames"),
        ({"propertyNames": {"enum": [1]}}, "propertyNames"),
        ({"if": {"pattern": "a"}, "then": {"minLength": 3}}, "if"),
        ({"dependentRequired": [], "type": "object"}, "dependentRequired"),
        ({"not": {"$ref": "#/$defs/a"}, "$defs": {"x": {"$id": "x"}, "a": {"type": "null"}}}, "not"),
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


def required(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


@pytest.mark.parametrize(
    "schema",
    [
        *({"not": {}}, {"enum": []}, {"allOf": [{"type": "string"}, {"type": "null"}]}),
        {"type": "string", "pattern": "^a$", "not": {"const": "a"}},
        {"oneOf": [{"type": "string"}, {"type": "string"}]},
        {"type": "object", "minProperties": 3, "maxProperties": 2},
        {"type": "array", "items": {"type": "integer", "multipleOf": 3, "minimum": 4, "maximum": 5}, "minItems": 1},
        required(b={}, a={"type": "string", "minLength": 3, "maxLength": 2}),
        required(b={"type": "string"}, a={"allOf": [{"const": "a"}, {"pattern": "^b"}]}),
        required(b={"const": "x"}, n={"$ref": "#"}),
    ],
)
def test_a_schema_that_nothing_satisfies_is_refused_at_the_start(grammars: Grammars, schema: dict[str, Any]) -> None:
    """Seen later, in a step, it would be a fault of the engine: deep inside, and behind what can still be written."""
    with pytest.raises(InputError, match=r"nsatisfiable|no text fits|Too many items"):
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


def nested(depth: int, around: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    schema: dict[str, Any] = {"minLength": 1}
    for _ in range(depth):
        schema = around(schema)
    return schema


ENUM = {"enum": [f"value {n}" for n in range(300)]}


@pytest.mark.parametrize(
    "schema",
    [
        nested(30, lambda inner: {"if": {"not": inner}, "then": {"type": "string"}}),
        nested(28, lambda inner: {"oneOf": [inner, {"minLength": 2}]}),
        {"oneOf": [{"minLength": n, "enum": [f"a{m}" for m in range(40)]} for n in range(MAX_BRANCHES)]},
        {"properties": {f"p{n}": {"not": {"$ref": "#/$defs/e"}} for n in range(500)}, "$defs": {"e": ENUM}},
        {"not": {"enum": ["x" * 60 + str(n) for n in range(30)]}, "allOf": [{"not": ENUM}] * 100},
        {
            "not": {"$ref": "#/$defs/d0"},
            "$defs": {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)} | {"d30": ENUM},
        },
    ],
)
def test_hostile_negations_are_refused_or_written_in_bounded_time(schema: dict[str, Any]) -> None:
    """Each of two branches doubles what is below it."""
    begin = time.process_time()
    with contextlib.suppress(InputError):
        assert len(schema_text(schema, "the schema")) <= MAX_SCHEMA
    assert time.process_time() - begin < 1
