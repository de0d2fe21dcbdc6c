"""The JSON schema of all values that do not fit another one, where one can be written down."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from phi4mm.config.validate import is_integer, is_number

MAX_NEGATED: Final = 1024  # schemas and values in enums, for one schema as a whole; branches can multiply
MAX_TEXTS: Final = 2048  # characters of the texts in an enum
MAX_EXACT: Final = 2**53  # larger numbers are not told apart
_OTHER_TYPES: Final = ("array", "boolean", "null", "number", "object", "string")
_OPPOSITE: Final = {
    "minimum": "exclusiveMaximum",
    "maximum": "exclusiveMinimum",
    "exclusiveMinimum": "maximum",
    "exclusiveMaximum": "minimum",
}
_SIZES: Final = {"Length": "string", "Items": "array"}
# Keywords that say nothing about a value.
_SILENT: Final = frozenset(
    "title description default examples deprecated readOnly writeOnly $comment $schema $defs definitions".split()
)


class CannotNegate(ValueError):
    """No schema says what does not fit this one, or only a very large one."""


@dataclass
class Negation:
    """Negates schemas: by De Morgan's rules, and each keyword by itself.

    resolve       the schema that a `$ref` names
    means_nothing whether a keyword with this value says nothing about values
    left          how many more schemas and values may be negated
    """

    resolve: Callable[[Any], Any]
    means_nothing: Callable[[str, object], bool]
    left: int = MAX_NEGATED

    def __call__(self, schema: Any) -> Any:
        """A schema that a value fits if, and only if, it does not fit `schema`. Raises CannotNegate."""
        self.left -= 1
        if self.left < 0:
            raise CannotNegate("too large")
        if isinstance(schema, bool):
            return not schema
        if not isinstance(schema, dict):
            raise CannotNegate("not a schema")
        keywords = {
            key: value for key, value in schema.items() if key not in _SILENT and not self.means_nothing(key, value)
        }
        if "$ref" in keywords:
            if len(keywords) > 1 or (target := self.resolve(schema)) is schema:
                raise CannotNegate("$ref")
            return self(target)
        return _any([part for key, value in keywords.items() for part in self._parts(key, value)])

    def _parts(self, key: str, value: Any) -> list[Any]:
        """Schemas of which a value fits one if, and only if, the keyword says that it does not fit."""
        if key == "type":
            return _types_without(value)
        if key in ("const", "enum"):
            values = [value] if key == "const" else _list(value)
            self.left -= len(values)
            return _values_without(values)
        if key in _OPPOSITE and is_number(value) and abs(value) < MAX_EXACT:
            return [{"type": "number", _OPPOSITE[key]: value}]
        if key[:3] in ("min", "max") and key[3:] in _SIZES and is_integer(value) and value >= 0:
            return _sizes_without(key, value)
        if key == "required":
            return [{"type": "object", "properties": {name: False}} for name in _list(value) if isinstance(name, str)]
        if key == "properties" and isinstance(value, dict):
            negated = {name: self(inner) for name, inner in value.items()}
            return [
                {"type": "object", "required": [name], "properties": {name: inner}}
                for name, inner in negated.items()
                if inner is not False
            ]
        if key == "allOf":
            return [self(inner) for inner in _list(value)]
        if key == "anyOf":
            return [{"allOf": [self(inner) for inner in _list(value)]}]
        if key == "not":
            return [value]
        raise CannotNegate(key)


def names_pattern(schema: dict[str, Any]) -> str | None:
    """A regular expression for the texts that fit a schema of a pattern, of a few texts or of lengths; else None."""
    keywords = {
        key: value for key, value in schema.items() if key not in _SILENT and (key, value) != ("type", "string")
    }
    if keywords.keys() == {"pattern"} and isinstance(keywords["pattern"], str):
        return keywords["pattern"]
    if keywords.keys() in ({"const"}, {"enum"}):
        values = keywords.get("enum", [keywords.get("const")])
        if isinstance(values, (list, tuple)) and values and all(isinstance(value, str) for value in values):
            return f"^(?:{'|'.join(''.join(map(_code, value)) for value in values)})$"
    low, high = keywords.get("minLength", 0), keywords.get("maxLength", "")
    if keywords.keys() <= {"minLength", "maxLength"} and is_integer(low) and (high == "" or is_integer(high)):
        return f"^(?s:.){{{low},{high}}}$"
    return None


def _any(parts: list[Any]) -> Any:
    parts = [part for part in parts if part is not False]
    return parts[0] if len(parts) == 1 else {"anyOf": parts} if parts else False


def _list(value: object) -> Collection[Any]:
    if not isinstance(value, (list, tuple)):
        raise CannotNegate("not a list")
    return value


def _types_without(value: object) -> list[Any]:
    names = {value} if isinstance(value, str) else {name for name in _list(value) if isinstance(name, str)}
    if not names <= {*_OTHER_TYPES, "integer"} or ("integer" in names and "number" not in names):
        raise CannotNegate("type")  # of a number that is whole, only a text tells
    return [{"type": rest}] if (rest := [name for name in _OTHER_TYPES if name not in names]) else []


def _sizes_without(key: str, value: int) -> list[Any]:
    kind = {"type": _SIZES[key[3:]]}
    if key.startswith("max"):
        return [kind | {f"min{key[3:]}": value + 1}]
    return [kind | {f"max{key[3:]}": value - 1}] if value else []


def _values_without(values: Collection[Any]) -> list[Any]:
    """All values but these; objects and lists among them cannot be left out."""
    if any(isinstance(value, (dict, list, tuple)) for value in values):
        raise CannotNegate("objects or lists")
    texts = [value for value in values if isinstance(value, str)]
    truths = [truth for truth in (True, False) if not any(value is truth for value in values)]
    parts: list[Any] = [{"type": ["array", "object"] + ["null"] * (None not in values)}]
    parts += [{"enum": truths}] if truths else []
    parts.append({"type": "string", "pattern": _texts_without(texts)} if texts else {"type": "string"})
    return parts + _numbers_without({value for value in values if not isinstance(value, (str, bool, type(None)))})


def _numbers_without(numbers: set[Any]) -> list[Any]:
    if not all(is_number(value) and abs(value) < MAX_EXACT for value in numbers):
        raise CannotNegate("numbers")
    bounds = [None, *sorted(numbers), None]
    return [
        {"type": "number"}
        | ({} if low is None else {"exclusiveMinimum": low})
        | ({} if high is None else {"exclusiveMaximum": high})
        for low, high in itertools.pairwise(bounds)
    ]


def _texts_without(texts: Collection[str]) -> str:
    """A regular expression of all texts but these: for each of their beginnings, how a text may leave them there."""
    if sum(map(len, texts)) > MAX_TEXTS:
        raise CannotNegate("long texts")
    whole = set(texts)
    following: dict[str, set[str]] = {text: set() for text in whole}
    for text in whole:
        for length in range(len(text)):
            following.setdefault(text[:length], set()).add(text[length])
    ways = []
    for start in sorted(following):
        others = "".join(map(_code, sorted(following[start])))
        rest = (f"[^{others}]" if others else "(?s:.)") + "(?s:.)*"
        ways.append("".join(map(_code, start)) + (rest if start in whole else f"(?:{rest})?"))
    return f"^(?:{'|'.join(ways)})$"


def _code(character: str) -> str:
    return f"\\x{{{ord(character):x}}}"
