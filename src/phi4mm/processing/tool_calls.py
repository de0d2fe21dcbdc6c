"""Tools that the model may call: how they are declared in the prompt, and how calls are read from an answer."""

from __future__ import annotations

import inspect
import json
import math
import re
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from phi4mm.config.validate import shown
from phi4mm.errors import InputError
from phi4mm.processing.tokenizer import Special
from phi4mm.protocol.messages import Tool, ToolCall

MAX_ANSWER = 4 * 2**20  # characters
MAX_DEPTH = 64  # of brackets in a call or a schema
MAX_MISSES = 64  # each reads the answer once at most
CALL, CALL_END, FUNCTOOLS = Special.TOOL_CALL.value, Special.TOOL_CALL_END.value, "functools"
MARK = re.compile(rf"(?<!\w){FUNCTOOLS}|{re.escape(CALL)}")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_BLANK = " \t\r\n"  # the white space of JSON
_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object", list: "array"}
_TYPE_NAMES = {kind.__name__: word for kind, word in _TYPES.items()}
_COMBINING = {"$ref", "allOf", "anyOf", "oneOf"}


def as_tool(tool: Tool | Mapping[str, Any] | Callable[..., Any]) -> Tool:
    """Make a checked Tool from a Tool, a function, or a dict, which may be flat or in OpenAI's format.

    OpenAI's format is {"type": "function", "function": {...}}.
    raises  InputError for a missing or invalid name, unknown keys, or parameters that are not a JSON object
    """
    if isinstance(tool, Mapping):
        tool = _from_mapping(tool)
    elif not isinstance(tool, Tool):
        tool = tool_from_function(tool)
    if not isinstance(tool.name, str) or not _NAME.fullmatch(tool.name):
        raise InputError(f"a tool is named {shown(tool.name)}; expected 1 to 64 letters, digits, '_', '-' or '.'")
    if not isinstance(tool.description, str) or not isinstance(tool.parameters, dict):
        raise InputError(f"tool {tool.name} needs text as description and a JSON object as parameters")
    try:
        json.dumps(tool.parameters, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"the parameters of tool {tool.name} are not JSON: {error!s:.200}") from None
    if not _shallow(tool.parameters):
        raise InputError(f"the parameters of tool {tool.name} are nested more than {MAX_DEPTH} deep")
    return tool


def tool_from_function(function: Callable[..., Any]) -> Tool:
    """Make a Tool from a function: its name, the first paragraph of its docstring, and a JSON schema of its parameters.

    The schema follows the annotations. A docstring line `name: text` or `name (type): text` describes that parameter.
    raises  InputError for parameters without an annotation, or of a type that JSON does not have, and where signature
            or annotations cannot be read
    """
    name = getattr(function, "__name__", None)
    if not isinstance(name, str) or not callable(function):
        raise InputError(f"a tool is of type {type(function).__name__}; expected a Tool, a dict or a function")
    try:
        hints, signature = get_type_hints(function), inspect.signature(function)
    except Exception as error:  # annotations are evaluated, and may be any code
        raise InputError(
            f"the parameters of tool {name:.60} cannot be read ({type(error).__name__}: {error!s:.80}); declare it as "
            "phi4mm.Tool, or define a function whose annotations are known types"
        ) from error
    text = inspect.getdoc(function) or ""
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or parameter.name not in hints:
            raise InputError(
                f"parameter {parameter.name:.60} of tool {name:.60} needs a name and an annotation of its own"
            )
        schema = _schema(hints[parameter.name], f"parameter {parameter.name:.60} of tool {name:.60}")
        if line := re.search(rf"^[ \t]*{parameter.name}(?: \([^)\n]*\))?:[ \t]*(\S.*)$", text, re.MULTILINE):
            schema["description"] = line[1]
        if parameter.default is parameter.empty:
            required.append(parameter.name)
        else:
            schema["default"] = parameter.default
        properties[parameter.name] = schema
    description = " ".join(text.split("\n\n")[0].split())
    return as_tool(Tool(name, description, {"type": "object", "properties": properties, "required": required}))


def tools_json(tools: Sequence[Tool]) -> str:
    """The JSON list of tools for the prompt, in the format of the model card."""
    declarations = [
        {"name": tool.name, "description": tool.description, "parameters": tool.parameters} for tool in tools
    ]
    return json.dumps(declarations, ensure_ascii=False)


def arguments_schema(tool: Tool) -> dict[str, Any]:
    """The JSON schema of a tool's arguments. They may be declared as such a schema, or as in the model card.

    The model card gives the Python type of each parameter: {"city": {"type": "str", "default": "London"}}; those
    without a default are required. Unless the declaration says otherwise, no other arguments are allowed.
    raises  InputError for a declaration that is neither
    """
    given = tool.parameters
    if isinstance(given.get("type"), str):
        if given["type"] != "object":
            raise InputError(f"the parameters of tool {tool.name} have type {shown(given['type'])}; expected 'object'")
    elif not given.keys() & {"properties", *_COMBINING}:
        if invalid := [name for name, value in given.items() if not isinstance(value, dict)]:
            raise InputError(
                f"parameter {invalid[0]:.60} of tool {tool.name} is not a JSON object; expected one with its type"
            )
        given = {
            "properties": {name: _with_json_type(value) for name, value in given.items()},
            "required": [name for name, value in given.items() if "default" not in value],
        }
    closed = {} if given.keys() & _COMBINING else {"additionalProperties": False}
    return {"type": "object", **closed, **given}


def declared_tools(prompt: str) -> list[Tool]:
    """The tools that a raw prompt declares between its tool marks; what is not readable as JSON declares none."""
    found: list[Tool] = []
    for text in prompt.split(Special.TOOL.value)[1:]:
        try:
            value = _DECODER.decode(text.partition(Special.TOOL_END.value)[0])
            for tool in value if isinstance(value, list) else [value]:
                found.append(as_tool(tool))
        except (ValueError, RecursionError, InputError):
            continue
    return found


def find_tool_calls(answer: str, tools: Sequence[Tool]) -> tuple[list[ToolCall], str]:
    """The calls in an answer, and its text without them, stripped of white space at both ends.

    Forms are those of `parse_tool_calls`; words may stand before and after. A list of calls counts only when each of
    them names one of `tools` and gives arguments that this tool declares; any other list stays in the text, whole.
    Values are not checked against their types. After MAX_MISSES marks that begin no call, the rest is text.
    `ToolStream` (tool_stream.py) finds the same in an answer that grows.
    """
    allowed = {tool.name: argument_names(tool) for tool in tools}
    calls: list[ToolCall] = []
    text: list[str] = []
    kept = at = misses = 0  # kept: where text begins that is not yet taken; at: where to look for the next mark
    for mark in MARK.finditer(answer):
        if mark.start() < at:
            continue
        try:
            found, at = calls_at(answer, mark.end())
        except (ValueError, RecursionError):
            if (misses := misses + 1) == MAX_MISSES:
                break
            continue
        if found and all(is_declared(call, allowed) for call in found):
            calls += found
            text.append(answer[kept : mark.start()])
            kept = at
    text.append(answer[kept:])
    return calls, "".join(text).strip()


def parse_tool_calls(answer: str) -> list[ToolCall]:
    """The tool calls of an answer that consists of calls only; an empty list if any part of it is text.

    Both published formats are read, with one object or a list of them:
    `functools[{"name": ..., "arguments": {...}}]` and `<|tool_call|>[...]<|/tool_call|>`, whose end tag may be missing
    at the end of the answer. Arguments may be named `parameters`, may be null, and may be JSON in a string; strings
    may hold line breaks and tabs as they are. Linear in the answer.
    """
    if len(answer) > MAX_ANSWER:
        return []
    calls: list[ToolCall] = []
    at = skip_blanks(answer, 0)
    while at < len(answer):
        mark = MARK.match(answer, at)
        if mark is None:
            return []
        try:
            found, at = calls_at(answer, mark.end())
        except (ValueError, RecursionError):
            return []
        calls += found
    return calls


def read_call(value: Any) -> ToolCall:
    """The call of a JSON value {"name": ..., "arguments": {...}}. Raises ValueError, RecursionError if it is none."""
    if not isinstance(value, dict) or not isinstance(name := value.get("name"), str) or not _NAME.fullmatch(name):
        raise ValueError("not a call")
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = _DECODER.decode(arguments)
    arguments = {} if arguments is None else arguments
    if not isinstance(arguments, dict) or not _shallow(arguments):
        raise ValueError("arguments are not an object, or too deep")
    return ToolCall(name, arguments)


def calls_text(calls: Sequence[ToolCall]) -> str:
    """The text of calls as the model writes them, which `parse_tool_calls` reads."""
    values = [{"name": call.name, "arguments": call.arguments} for call in calls]
    return f"{FUNCTOOLS}{json.dumps(values, ensure_ascii=False)}"


def calls_at(answer: str, at: int) -> tuple[list[ToolCall], int]:
    """The calls of the mark that ends at `at`, and where they and the white space after them end.

    raises  ValueError, RecursionError if there are none
    """
    marked = answer.endswith(CALL, 0, at)
    value, at = _DECODER.raw_decode(answer, skip_blanks(answer, at))
    if not _shallow(value, MAX_DEPTH + 2):  # a list of objects with arguments
        raise ValueError("too deep")
    calls = [read_call(each) for each in (value if isinstance(value, list) else [value])]
    at = skip_blanks(answer, at)
    if marked and answer.startswith(CALL_END, at):
        at = skip_blanks(answer, at + len(CALL_END))
    return calls, at


def argument_names(tool: Tool) -> Collection[str] | None:
    """The names that the tool's arguments may have; None where any may come."""
    try:
        schema = arguments_schema(tool)
    except InputError:
        return tool.parameters.keys()
    if schema.get("additionalProperties") is not False or "patternProperties" in schema:
        return None
    properties = schema.get("properties")
    return properties.keys() if isinstance(properties, dict) else ()


def is_declared(call: ToolCall, allowed: Mapping[str, Collection[str] | None]) -> bool:
    """Whether a call names a tool in `allowed`, with arguments of which it says that they may come."""
    names = allowed.get(call.name, ())
    return call.name in allowed and (names is None or all(name in names for name in call.arguments))


def _from_mapping(tool: Mapping[str, Any]) -> Tool:
    inner = tool.get("function") if tool.get("type") == "function" else tool
    if not isinstance(inner, Mapping) or "name" not in inner:
        raise InputError('a tool has no name; expected {"name": ..., "description": ..., "parameters": {...}}')
    known = (
        {"name", "description", "parameters", "strict"} if inner is not tool else {"name", "description", "parameters"}
    )
    if unknown := sorted(map(str, set(inner) - known)):
        raise InputError(
            f"tool {shown(inner['name'])} has the unknown key {shown(unknown[0])}; expected {', '.join(sorted(known))}"
        )
    return Tool(inner["name"], inner.get("description") or "", inner.get("parameters") or {})


def _schema(annotation: Any, name: str) -> dict[str, Any]:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (Union, types.UnionType) and len(inner) == 2 and type(None) in inner:
        return _schema(next(kind for kind in inner if kind is not type(None)), name)
    if (kind := _TYPES.get(origin or annotation)) is None:
        raise InputError(
            f"{name} is annotated {annotation!s:.60}; expected str, int, float, bool, list, dict or Literal"
        )
    return {"type": kind, "items": _schema(inner[0], name)} if origin is list else {"type": kind}


def _with_json_type(parameter: dict[str, Any]) -> dict[str, Any]:
    kind = parameter.get("type")
    return parameter | {"type": _TYPE_NAMES[kind]} if isinstance(kind, str) and kind in _TYPE_NAMES else parameter


def _shallow(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Whether a JSON value has at most `depth` objects and lists in each other."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(depth):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, (dict, list))
        ]
    return not level


def skip_blanks(text: str, at: int) -> int:
    """Where the white space that begins at `at`, if any, ends."""
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at


def _finite(literal: str) -> float:
    if not math.isfinite(number := float(literal)):
        raise ValueError("JSON has no infinities")
    return number


# Not strict: small models write line breaks and tabs in strings as they are.
_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite, strict=False)
