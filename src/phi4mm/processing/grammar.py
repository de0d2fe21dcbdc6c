"""The form of an answer as the source text of a grammar: a plain value, checked, made without the grammar's library.

The language is llguidance's Lark with JSON schemas inside; only regular expressions are spelled anew by the library.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from phi4mm.errors import ConfigError, InputError
from phi4mm.processing.tool_calls import FUNCTOOLS, MAX_DEPTH, arguments_schema
from phi4mm.protocol.messages import Tool
from phi4mm.protocol.request import ResponseFormat

MAX_SCHEMA = 2**16  # bytes of JSON
MAX_VALUES = 4096  # in a schema
MAX_KEYS = 512  # of one object in it; compiling takes the square of its properties
MAX_GRAMMAR = 2**17  # characters of the form and all tools together
MAX_CALLS = 16  # in one answer: a weak model would never close the list
# White space as json.dumps writes it: where any were allowed, some models would write it for ever.
_LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_NESTS = (dict, list, tuple)


def grammar_source(form: ResponseFormat | None, tools: Sequence[Tool] = (), tool_choice: str = "auto") -> str | None:
    """The grammar that an answer must keep to; None when anything goes. With "auto", calls may stand in for the form.

    raises  InputError for a form or choice of tools that is malformed, contradictory or too large;
            ConfigError for a regular expression when llguidance is not installed
    """
    names = [tool.name for tool in tools]
    if tool_choice != "auto" and (not tools or tool_choice not in ("required", *names)):
        expected = ", ".join(["auto", "required", *names] if tools else ["auto, as there are no tools"])
        raise InputError(f"tool_choice is {tool_choice!r}; expected {expected}")
    if tool_choice != "auto" and form is not None:
        raise InputError(f"tool_choice {tool_choice!r} leaves no room for a response format; give one of the two")
    if tool_choice == "auto" and form is None:
        return None
    starts: list[str] = []
    rules: list[str] = []
    if form is not None:
        starts.append("answer")
        rules.append(f"answer: {_answer(form)}")
    if tools:
        starts.append("calls")
        rules += _calls([tool for tool in tools if tool_choice in ("auto", "required", tool.name)], tool_choice)
    source = "\n".join([f"start: {' | '.join(starts)}", *rules, ""])
    if len(source) > MAX_GRAMMAR:
        raise InputError(
            f"the answer's form comes to a grammar of {len(source)} characters and at most {MAX_GRAMMAR} are"
            " followed; give fewer or shorter choices or tools"
        )
    return source


def missing_library() -> ConfigError:
    """What to raise where llguidance is needed and not there."""
    return ConfigError("structured answers need llguidance; pip install 'phi4mm[structured]'")


def _answer(form: ResponseFormat) -> str:
    """The right side of the rule for an answer of this form."""
    if form.schema is not None:
        return f"%json {_schema_text(form.schema, 'the schema')}"
    if form.choice:
        return f"CHOICE\nCHOICE: {' | '.join(json.dumps(text, ensure_ascii=False) for text in form.choice)}"
    try:
        from llguidance import regex_to_lark
    except ImportError as error:
        raise missing_library() from error
    assert form.regex is not None
    return f"/{regex_to_lark(form.regex, use_ascii='')}/"


def _calls(tools: Sequence[Tool], tool_choice: str) -> list[str]:
    """Rules for calls in the published form: one to the tool that was named, else up to MAX_CALLS to any."""
    more = f' (", " call){{0,{MAX_CALLS - 1}}}' if tool_choice in ("auto", "required") else ""
    rules = [
        f'calls: "{FUNCTOOLS}[" call{more} "]"',
        f"call: {' | '.join(f'call_{number}' for number in range(len(tools)))}",
    ]
    for number, tool in enumerate(tools):
        head = json.dumps(f'{{"name": "{tool.name}", "arguments": ')
        schema = _schema_text(arguments_schema(tool), f"the parameters of tool {tool.name}")
        rules.append(f'call_{number}: {head} %json {schema} "}}"')
    return rules


def _schema_text(schema: dict[str, Any], what: str) -> str:
    """A schema of bounded size as JSON, in which nothing but our own layout steers the library."""
    level: list[Any] = [schema]
    depth = values = 0
    while level:
        depth, values = depth + 1, values + len(level)
        keys = max((len(value) for value in level if isinstance(value, dict)), default=0)
        if depth > MAX_DEPTH or values > MAX_VALUES or keys > MAX_KEYS:
            raise InputError(
                f"{what} nests {depth} deep, has {values} values up to there and {keys} in one object; "
                f"at most {MAX_DEPTH}, {MAX_VALUES} and {MAX_KEYS} are followed"
            )
        groups = [value.values() if isinstance(value, dict) else value for value in level if isinstance(value, _NESTS)]
        level = [child for group in groups for child in group]
    try:
        text = json.dumps({**schema, "x-guidance": _LAYOUT}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} is not JSON: {error}") from None
    if len(text) > MAX_SCHEMA:
        raise InputError(f"{what} has {len(text)} bytes of JSON; at most {MAX_SCHEMA} are followed")
    return text
