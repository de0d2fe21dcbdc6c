"""Splits an answer that grows into its text and its tool calls."""

from __future__ import annotations

from collections.abc import Sequence

from phi4mm.processing.grammar import allows_words
from phi4mm.processing.tool_calls import FUNCTOOLS
from phi4mm.processing.tool_stream import Delta, ToolStream
from phi4mm.protocol.messages import Tool


class AnswerSplit:
    """One answer. Where its grammar allows calls or a structured output, what stands in the latter calls nothing."""

    def __init__(self, tools: Sequence[Tool], grammar: str | None) -> None:
        self._calls = ToolStream(tools) if tools else None
        self._undecided = bool(tools) and not allows_words(grammar)
        self._held = ""

    def push(self, text: str, *, last: bool) -> list[Delta]:
        """Add the next text of the answer, and say whether it is the last. Returns what is certain now, in order."""
        if self._undecided:
            self._held += text
            if not last and FUNCTOOLS.startswith(self._held[: len(FUNCTOOLS)]) and len(self._held) < len(FUNCTOOLS):
                return []
            self._undecided = False
            text = self._held
            if not text.startswith(FUNCTOOLS):
                self._calls = None
        if self._calls is None:
            return [text] if text else []
        deltas = self._calls.push(text)
        return [*deltas, *self._calls.finish()] if last else deltas
