"""Whether two answers hold the same tool calls."""

from __future__ import annotations

import json

from phi4mm.processing.tool_calls import parse_tool_calls


def same_calls(reference: str, answer: str) -> bool:
    """Whether both texts hold the same tool calls, in order: names and arguments as JSON values, types included."""
    expected, actual = _calls(reference), _calls(answer)
    return bool(expected) and json.dumps(expected, sort_keys=True) == json.dumps(actual, sort_keys=True)


def _calls(text: str) -> list[list[object]]:
    return [[call.name, call.arguments] for call in parse_tool_calls(text)]
