"""JSON schemas as text for the library that follows them: of bounded size, and in the words that it knows."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from phi4mm.errors import InputError
from phi4mm.processing.json_negation import CannotNegate, Negation, names_pattern
from phi4mm.processing.tool_calls import MAX_DEPTH

MAX_SCHEMA = 2**16  # bytes of JSON
MAX_VALUES = 4096  # in a schema
MAX_KEYS = 512  # in one object of a schema; compiling takes time quadratic in them
MAX_BRANCHES = 32  # of a oneOf, which are compared in pairs
MAX_REFERENCES = 8  # that are followed, each to the next

# The formats that are enforced. To any other, JSON Schema gives no more meaning than to a comment.
FORMATS = ("date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid")
# White space as json.dumps writes it: if any were allowed, some models would write it without end.
_LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_CONTAINERS = (dict, list, tuple)
# Keywords that hold schemas: by name, in a list, or one. The rest hold data, which stays as it is.
_BY_NAME = ("properties", "patternProperties", "$defs", "definitions")
_IN_LIST = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_ONE = ("items", "additionalItems", "additionalProperties", "contains", "not", "if", "then", "else", "propertyNames")
_COUNTS = frozenset(f"{bound}{of}" for bound in ("min", "max") for of in ("Length", "Items", "Properties"))
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_TYPE_OF = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", type(None): "null"}


def schema_text(schema: dict[str, Any], name: str) -> str:
    """The schema as JSON, with our own options for the library in place of any that it contains.

    `oneOf`, `not`, `if`, dependencies and `propertyNames` become `anyOf`, `allOf` and `patternProperties`, where these
    can say exactly the same.
    raises  InputError, in which the schema is called `name`, for one that is too large or is no JSON
    """
    level: list[Any] = [schema]
    depth = values = bases = 0
    while level:
        depth, values = depth + 1, values + len(level)
        bases += sum(isinstance(value, dict) and isinstance(value.get("$id", value.get("id")), str) for value in level)
        keys = max((len(value) for value in level if isinstance(value, dict)), default=0)
        if depth > MAX_DEPTH or values > MAX_VALUES or keys > MAX_KEYS:
            raise InputError(
                f"{name} has depth {depth}, {values} values and {keys} keys in one object; "
                f"expected at most {MAX_DEPTH}, {MAX_VALUES} and {MAX_KEYS}, so simplify it"
            )
        groups = [
            value.values() if isinstance(value, dict) else value for value in level if isinstance(value, _CONTAINERS)
        ]
        level = [child for group in groups for child in group]
    local = bases == isinstance(schema.get("$id", schema.get("id")), str)
    try:
        text = json.dumps({**_Rewriter(schema, local)(schema), "x-guidance": _LAYOUT}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is not JSON: {error!s:.200}") from None
    if len(text) > MAX_SCHEMA:
        raise InputError(f"{name} has {len(text)} bytes of JSON; expected at most {MAX_SCHEMA}, so simplify it")
    return text


@dataclass
class _Rewriter:
    """Writes parts of the schema `root` anew.

    compared  what is known of pairs of branches, by their ids
    local     whether every `$ref` within the schema begins at its root
    """

    root: Mapping[str, Any]
    local: bool
    compared: dict[tuple[int, int], bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.negation = Negation(self._resolved, _means_nothing)

    def __call__(self, schema: Any) -> Any:
        """A schema without what means nothing, in keywords that the library holds where there are any."""
        if not isinstance(schema, dict):
            return schema
        out: dict[str, Any] = {}
        more: list[Any] = []
        replaced: set[str] = set()
        for keywords, replace in (
            (("not",), self._not),
            (("if", "then", "else"), self._if),
            (("oneOf",), self._one_of),
            (("dependentRequired", "dependentSchemas", "dependencies"), self._dependent),
            (("propertyNames",), self._property_names),
        ):
            if schema.keys() & set(keywords) and isinstance(schema.get("allOf", ()), (list, tuple)):
                with contextlib.suppress(CannotNegate):  # the library refuses the keyword by its name
                    more += map(self, replace(schema))
                    replaced |= set(keywords)
        for key, value in schema.items():
            if key in replaced or _means_nothing(key, value):
                continue
            if key in _BY_NAME and isinstance(value, dict):
                out[key] = {name: self(inner) for name, inner in value.items()}
            elif key in _IN_LIST and isinstance(value, (list, tuple)):
                out[key] = [self(inner) for inner in value]
            elif key in _ONE:
                out[key] = self(value)
            else:
                out[key] = int(value) if key in _COUNTS and isinstance(value, float) and value.is_integer() else value
        if more:
            out["allOf"] = [*out.get("allOf", ()), *more]
        return out

    def _not(self, schema: dict[str, Any]) -> list[Any]:
        return [self.negation(schema["not"])]

    def _if(self, schema: dict[str, Any]) -> list[Any]:
        if "if" not in schema or not schema.keys() & {"then", "else"}:
            return []
        fits, otherwise = schema.get("then", True), schema.get("else", True)
        return [{"anyOf": [{"allOf": [schema["if"], fits]}, {"allOf": [self.negation(schema["if"]), otherwise]}]}]

    def _one_of(self, schema: dict[str, Any]) -> list[Any]:
        """Any of the branches, without what fits another one too."""
        branches = schema["oneOf"]
        if not isinstance(branches, (list, tuple)) or len(branches) > MAX_BRANCHES:
            raise CannotNegate("oneOf")
        resolved = [self._resolved(branch) for branch in branches]
        alone = []
        for n, branch in enumerate(branches):
            others = [
                other for m, other in enumerate(branches) if m != n and not self._exclusive(resolved[n], resolved[m])
            ]
            alone.append({"allOf": [branch, *map(self.negation, others)]} if others else branch)
        return [{"anyOf": alone}]

    def _dependent(self, schema: dict[str, Any]) -> list[Any]:
        """Either a property is missing, or what depends on it holds."""
        more: list[Any] = []
        for keyword in ("dependentRequired", "dependentSchemas", "dependencies"):
            value = schema.get(keyword, {})
            if not isinstance(value, dict):
                raise CannotNegate(keyword)
            for name, needed in value.items():
                then = {"required": needed} if isinstance(needed, (list, tuple)) else needed
                more.append({"anyOf": [{"properties": {name: False}}, then]})
        return more

    def _property_names(self, schema: dict[str, Any]) -> list[Any]:
        """No property but those whose name fits one regular expression."""
        names = self._resolved(schema["propertyNames"])
        if isinstance(names, bool):
            return [] if names else [{"additionalProperties": False}]
        pattern = names_pattern(names) if isinstance(names, dict) else None
        if pattern is None:
            raise CannotNegate("propertyNames")
        return [{"patternProperties": {pattern: {}}, "additionalProperties": False}]

    def _exclusive(self, one: Any, other: Any) -> bool:
        """Whether no value fits both: by their constants or types, or by those of a property that both require."""
        key = (id(one), id(other))
        if key not in self.compared:
            self.compared[key] = _differ(one, other) or any(
                _differ(self._resolved(one["properties"][name]), self._resolved(other["properties"][name]))
                for name in _required(one) & _required(other)
            )
        return self.compared[key]

    def _resolved(self, schema: Any) -> Any:
        """The schema that a `$ref` within `root` names; others as they are."""
        for _ in range(MAX_REFERENCES if self.local else 0):
            reference = schema.get("$ref") if isinstance(schema, dict) else None
            if not isinstance(reference, str) or not reference.startswith("#/"):
                break
            schema = self.root
            for step in reference[2:].split("/"):
                name = step.replace("~1", "/").replace("~0", "~")
                schema = schema.get(name) if isinstance(schema, Mapping) else None
        return schema


def _means_nothing(key: str, value: object) -> bool:
    return (key == "format" and isinstance(value, str) and value not in FORMATS) or (
        key == "uniqueItems" and value is False
    )


def _differ(one: Any, other: Any) -> bool:
    """Whether constants or types alone say that no value fits both schemas."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return False
    first, second = _constants(one), _constants(other)
    if first is not None and second is not None and not first & second:
        return True
    return not _types(one) & _types(other)


def _constants(schema: dict[str, Any]) -> set[str] | None:
    """The values that a schema allows, as JSON, where it lists them and none is an object or a list."""
    if "const" not in schema and not isinstance(schema.get("enum"), (list, tuple)):
        return None
    values = [schema["const"]] if "const" in schema else schema["enum"]
    if any(isinstance(value, _CONTAINERS) for value in values):
        return None
    # 1 and 1.0 are one value.
    whole = [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]
    return {json.dumps(value, default=repr) for value in whole}


def _types(schema: dict[str, Any]) -> set[str]:
    """The types of the values that fit; a `number` may be an `integer`."""
    given = schema.get("type", _TYPES)
    found = set(_names(given if isinstance(given, (list, tuple)) else [given]))
    if (constants := _constants(schema)) is not None:
        found = {_TYPE_OF.get(type(json.loads(value)), "number") for value in constants}
    return found | ({"integer"} if "number" in found else set())


def _required(schema: Any) -> set[str]:
    """The properties that every value has that fits a schema of objects alone, and that it describes."""
    if not isinstance(schema, dict) or _types(schema) != {"object"} or not isinstance(schema.get("properties"), dict):
        return set()
    return set(_names(schema.get("required"))) & schema["properties"].keys()


def _names(value: object) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, (list, tuple)) else []
