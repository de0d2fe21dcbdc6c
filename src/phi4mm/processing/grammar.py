"""Structured output and tools as the source text of a grammar, which is checked here and compiled in the engine.

The grammar is written in llguidance's variant of Lark, with JSON schemas in it. The library itself is needed only to
convert regular expressions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from phi4mm.config.validate import shown
from phi4mm.errors import ConfigError, InputError
from phi4mm.processing.json_schema import schema_text
from phi4mm.processing.tool_calls import CALL, FUNCTOOLS, arguments_schema
from phi4mm.protocol.messages import Tool
from phi4mm.protocol.request import ResponseFormat

MAX_GRAMMAR = 2**17  # characters, with all tools
WORDS = "words"  # the rule of an answer of words, and one call or none
MAX_CALLS = 16  # in one answer; a weak model may never end the list by itself
# Words, and words before one call: neither may hold a mark of calls, or a second call could follow it. A word character
# before the mark would make it text.
_WORDS = rf"""WORDS: /(?s:.*)/ & ~/(?s:.*)({FUNCTOOLS}[ \t\r\n]*[\[{{]|{re.escape(CALL)})(?s:.*)/
BEFORE: WORDS & ~/(?s:.*)[0-9A-Za-z_\x{{80}}-\x{{10ffff}}]/
begin[lazy]: BEFORE "{FUNCTOOLS}["
"""


def grammar_source(
    response_format: ResponseFormat | None,
    tools: Sequence[Tool] = (),
    tool_choice: str = "auto",
    parallel_tool_calls: bool = True,
) -> str | None:
    """The grammar that an answer must match, or None if it is free. With "auto", tool calls are allowed as well.

    Without `parallel_tool_calls` the answer has at most one call, and ends with it.
    raises  InputError for a response format or tool choice that is malformed, contradictory or too large;
            ConfigError for a regular expression if llguidance is not installed
    """
    forced = tool_choice not in ("auto", "none")
    if forced:
        _check_choice(tool_choice, tools, response_format)
    chosen = [tool for tool in tools if tool_choice in ("auto", "required", tool.name)]
    one = not parallel_tool_calls or (forced and tool_choice != "required")
    starts: list[str] = []
    rules: list[str] = []
    if response_format is not None:
        starts.append("answer")
        rules.append(f"answer: {_answer(response_format)}")
    if chosen and (forced or one or response_format is not None):
        free = not forced and response_format is None
        starts.append(WORDS if free else "calls")
        rules += _calls(chosen, 1 if one else MAX_CALLS)
        rules += [f'{WORDS}: WORDS | begin call "]"', _WORDS] if free else []
    if not starts:
        return None
    source = "\n".join([f"start: {' | '.join(starts)}", *rules, ""])
    if len(source) > MAX_GRAMMAR:
        raise InputError(
            f"the grammar of the structured output has {len(source)} characters; expected at most {MAX_GRAMMAR}, "
            "so give fewer or shorter choices or tools"
        )
    return source


def allows_words(source: str | None) -> bool:
    """Whether words may stand beside the calls of an answer to this grammar; None is no grammar."""
    return source is None or source.startswith(f"start: {WORDS}\n")


def missing_library() -> ConfigError:
    """The error to raise if llguidance is not installed."""
    return ConfigError("structured output needs llguidance; pip install 'phi4mm[structured]'")


def _check_choice(tool_choice: str, tools: Sequence[Tool], response_format: ResponseFormat | None) -> None:
    names = ["auto", "none", *(["required", *(tool.name for tool in tools)] if tools else [])]
    if tool_choice not in names:
        why = "" if tools else ", as there are no tools"
        raise InputError(f"tool_choice is {shown(tool_choice)}; expected {', '.join(names)}{why}")
    if response_format is not None:
        raise InputError(f"tool_choice {tool_choice!r} cannot be combined with a response format; give one of the two")


def _answer(response_format: ResponseFormat) -> str:
    """The right side of the rule `answer`."""
    schema = {"type": "object"} if response_format.json_object else response_format.schema
    if schema is not None:
        return f"%json {schema_text(schema, 'the schema')}"
    if response_format.choice:
        return f"CHOICE\nCHOICE: {' | '.join(json.dumps(text, ensure_ascii=False) for text in response_format.choice)}"
    try:
        from llguidance import regex_to_lark
    except ImportError as error:
        raise missing_library() from error
    assert response_format.regex is not None
    return f"/{regex_to_lark(response_format.regex, use_ascii='')}/"


def _calls(tools: Sequence[Tool], most: int) -> list[str]:
    """Rules for up to `most` tool calls in the published format."""
    more = f' (", " call){{0,{most - 1}}}' if most > 1 else ""
    rules = [
        f'calls: "{FUNCTOOLS}[" call{more} "]"',
        f"call: {' | '.join(f'call_{number}' for number in range(len(tools)))}",
    ]
    for number, tool in enumerate(tools):
        head = json.dumps(f'{{"name": "{tool.name}", "arguments": ')
        schema = schema_text(arguments_schema(tool), f"the parameters of tool {tool.name}")
        rules.append(f'call_{number}: {head} %json {schema} "}}"')
    return rules
