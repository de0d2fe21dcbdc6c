"""JSON schemas as text for the library that follows them: of bounded size, and in the words that it knows."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from phi4mm.errors import InputError
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
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_TYPE_OF = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", type(None): "null"}


def schema_text(schema: dict[str, Any], name: str) -> str:
    """The schema as JSON, with our own options for the library in place of any that it contains.

    Branches of a `oneOf` that exclude each other become an `anyOf`, which means the same for them.
    raises  InputError, in which the schema is called `name`, for one that is too large or is no JSON
    """
    level: list[Any] = [schema]
    depth = values = 0
    while level:
        depth, values = depth + 1, values + len(level)
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
    try:
        text = json.dumps({**_Rewriter(schema)(schema), "x-guidance": _LAYOUT}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is not JSON: {error!s:.200}") from None
    if len(text) > MAX_SCHEMA:
        raise InputError(f"{name} has {len(text)} bytes of JSON; expected at most {MAX_SCHEMA}, so simplify it")
    return text


@dataclass(frozen=True)
class _Rewriter:
    """Writes parts of the schema `root` anew; `compared` holds, by their ids, what is known of pairs of branches."""

    root: Mapping[str, Any]
    compared: dict[tuple[int, int], bool] = field(default_factory=dict)

    def __call__(self, schema: Any) -> Any:
        """A schema without what means nothing, and with `anyOf` for a `oneOf` of exclusive branches."""
        if not isinstance(schema, dict):
            return schema
        out: dict[str, Any] = {}
        for key, value in schema.items():
            if key in _BY_NAME and isinstance(value, dict):
                out[key] = {name: self(inner) for name, inner in value.items()}
            elif key in _IN_LIST and isinstance(value, (list, tuple)):
                out[key] = [self(inner) for inner in value]
            elif key in _ONE:
                out[key] = self(value)
            elif not _means_nothing(key, value):
                out[key] = value
        if "anyOf" not in out and self._exclude_each_other(schema.get("oneOf")):
            out["anyOf"] = out.pop("oneOf")
        return out

    def _exclude_each_other(self, branches: object) -> bool:
        if not isinstance(branches, (list, tuple)) or len(branches) > MAX_BRANCHES:
            return False
        pairs = itertools.combinations([self._resolved(branch) for branch in branches], 2)
        return all(self._exclusive(one, other) for one, other in pairs)

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
        for _ in range(MAX_REFERENCES):
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
