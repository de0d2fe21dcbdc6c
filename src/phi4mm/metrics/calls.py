"""Whether two answers hold the same tool calls."""

from __future__ import annotations

import json

from phi4mm.processing.tool_calls import parse_tool_calls


def same_calls(truth: str, answer: str) -> bool:
    """Whether both texts hold the same tool calls, in order: names and arguments as JSON values, types included."""
    wanted, found = ([[call.name, call.arguments] for call in parse_tool_calls(text)] for text in (truth, answer))
    return bool(wanted) and json.dumps(wanted, sort_keys=True) == json.dumps(found, sort_keys=True)
