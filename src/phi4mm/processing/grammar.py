"""Structured output and tools as the source text of a grammar, which is checked here and compiled in the engine.

The grammar is written in llguidance's variant of Lark, with JSON schemas in it. The library itself is needed only to
convert regular expressions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from phi4mm.config.validate import shown
from phi4mm.errors import ConfigError, InputError
from phi4mm.processing.json_schema import schema_text
from phi4mm.processing.tool_calls import FUNCTOOLS, arguments_schema
from phi4mm.protocol.messages import Tool
from phi4mm.protocol.request import ResponseFormat

MAX_GRAMMAR = 2**17  # characters, with all tools
MAX_CALLS = 16  # in one answer; a weak model may never end the list by itself


def grammar_source(
    response_format: ResponseFormat | None, tools: Sequence[Tool] = (), tool_choice: str = "auto"
) -> str | None:
    """The grammar that an answer must match, or None if it is free. With "auto", tool calls are allowed as well.

    raises  InputError for a response format or tool choice that is malformed, contradictory or too large;
            ConfigError for a regular expression if llguidance is not installed
    """
    names = [tool.name for tool in tools]
    if tool_choice != "auto" and (not tools or tool_choice not in ("required", *names)):
        expected = ", ".join(["auto", "required", *names] if tools else ["auto, as there are no tools"])
        raise InputError(f"tool_choice is {shown(tool_choice)}; expected {expected}")
    if tool_choice != "auto" and response_format is not None:
        raise InputError(f"tool_choice {tool_choice!r} cannot be combined with a response format; give one of the two")
    if tool_choice == "auto" and response_format is None:
        return None
    starts: list[str] = []
    rules: list[str] = []
    if response_format is not None:
        starts.append("answer")
        rules.append(f"answer: {_answer(response_format)}")
    if tools:
        starts.append("calls")
        rules += _calls([tool for tool in tools if tool_choice in ("auto", "required", tool.name)], tool_choice)
    source = "\n".join([f"start: {' | '.join(starts)}", *rules, ""])
    if len(source) > MAX_GRAMMAR:
        raise InputError(
            f"the grammar of the structured output has {len(source)} characters; expected at most {MAX_GRAMMAR}, "
            "so give fewer or shorter choices or tools"
        )
    return source


def missing_library() -> ConfigError:
    """The error to raise if llguidance is not installed."""
    return ConfigError("structured output needs llguidance; pip install 'phi4mm[structured]'")


def _answer(response_format: ResponseFormat) -> str:
    """The right side of the rule `answer`."""
    if response_format.schema is not None:
        return f"%json {schema_text(response_format.schema, 'the schema')}"
    if response_format.choice:
        return f"CHOICE\nCHOICE: {' | '.join(json.dumps(text, ensure_ascii=False) for text in response_format.choice)}"
    try:
        from llguidance import regex_to_lark
    except ImportError as error:
        raise missing_library() from error
    assert response_format.regex is not None
    return f"/{regex_to_lark(response_format.regex, use_ascii='')}/"


def _calls(tools: Sequence[Tool], tool_choice: str) -> list[str]:
    """Rules for tool calls in the published format: one call of a tool chosen by name, else up to MAX_CALLS."""
    more = f' (", " call){{0,{MAX_CALLS - 1}}}' if tool_choice in ("auto", "required") else ""
    rules = [
        f'calls: "{FUNCTOOLS}[" call{more} "]"',
        f"call: {' | '.join(f'call_{number}' for number in range(len(tools)))}",
    ]
    for number, tool in enumerate(tools):
        head = json.dumps(f'{{"name": "{tool.name}", "arguments": ')
        schema = schema_text(arguments_schema(tool), f"the parameters of tool {tool.name}")
        rules.append(f'call_{number}: {head} %json {schema} "}}"')
    return rules
