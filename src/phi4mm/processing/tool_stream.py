"""Tool calls in an answer while it grows: pieces of text in, text and calls out as soon as they are certain."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from phi4mm.processing.json_extent import JSONExtent
from phi4mm.processing.tool_calls import (
    CALL,
    CALL_END,
    FUNCTOOLS,
    MARK,
    MAX_MISSES,
    argument_names,
    calls_at,
    is_declared,
    skip_blanks,
)
from phi4mm.protocol.messages import Tool


@dataclass(frozen=True)
class CallDelta:
    """A part of a tool call: the first one names the tool; the arguments of all parts, joined, are a JSON object.

    index  number of the call in the answer, from 0
    """

    index: int
    name: str | None
    arguments: str


Delta: TypeAlias = "str | CallDelta"


def _starts(mark: str) -> str:
    return "|".join(re.escape(mark[:length]) for length in range(len(mark) - 1, 0, -1))


# How calls follow each other in the form that a grammar holds an answer to; after an object of arguments, or the mark.
_NEXT_CALL: Final = re.compile(r'(?:\[|\}, )\{"name": "([^"]+)", "arguments": |\}\]')
_MAY_BE_MARK: Final = re.compile(rf"(?:(?<!\w)(?:{_starts(FUNCTOOLS)})|{_starts(CALL)})\Z")


class ToolStream:
    """Splits an answer that comes in pieces as `find_tool_calls` splits the whole: into its text and its calls.

    Text is withheld while it may be the beginning of a mark, white space until text follows it, and a list of calls
    until it ends: one call of another tool, or a missing bracket, makes all of it text. Linear in the answer.

    Where a grammar holds the answer to calls (a tool choice, or no parallel calls), they are certain from the
    beginning: arguments are sent while they grow, and a call that `max_tokens` cuts is sent as far as it came.
    """

    def __init__(self, tools: Sequence[Tool], *, held_by_grammar: bool = False) -> None:
        """Calls of other tools than `tools`, or with arguments that they do not declare, stay text.

        held_by_grammar  the answer follows a grammar of `grammar_source` for these tools, without a response format
        """
        self._held_by_grammar = held_by_grammar
        self._arguments: JSONExtent | None = None  # that are sent while they grow
        self._allowed = {tool.name: argument_names(tool) for tool in tools}
        self._deltas: list[Delta] = []
        self._calls = self._misses = 0
        self._before = ""  # the character before the text that comes next
        self._held = ""  # text that cannot be judged yet: of a mark, an end tag or an escape
        self._blanks: list[str] | None = None  # white space since the last text; None before the first
        self._mark = ""  # of the list of calls that is followed
        self._list: list[str] = []  # its text after the mark so far
        self._extent: JSONExtent | None = None  # where it ends
        self._after = ""  # the mark of a list that has just ended: white space and its end tag belong to it

    def push(self, piece: str) -> list[Delta]:
        """Add the next text of the answer. Returns what is certain now, in order."""
        text, at = self._before + self._held + piece, len(self._before)
        self._held = ""
        self._read(text, at)
        return self._take()

    def finish(self) -> list[Delta]:
        """The answer has ended: returns what was withheld."""
        if self._arguments is not None:
            if not self._arguments.ended:
                self._send_arguments(self._held)
            return self._take()
        while self._extent is not None:
            self._read(*self._miss(self._held, 0))
        self._say(self._held)
        return self._take()

    def _take(self) -> list[Delta]:
        """The deltas since the last call, with one text between two calls."""
        deltas: list[Delta] = []
        for kind, group in itertools.groupby(self._deltas, key=type):
            parts = list(group)
            deltas += ["".join(map(str, parts))] if kind is str else parts
        self._deltas = []
        return deltas

    def _read(self, text: str, at: int) -> None:
        while at < len(text):
            if self._arguments is not None or (self._extent is not None and self._held_by_grammar):
                text, at = self._follow_certain(text, at)
            elif self._extent is not None:
                text, at = self._follow(text, at)
            elif self._after:
                at = self._skip_end(text, at)
            else:
                at = self._search(text, at)
        self._before = text[: len(text) - len(self._held)][-1:]

    def _search(self, text: str, at: int) -> int:
        """Send the text before the next mark. Returns where the mark ends, or the end of the text."""
        mark = may_be_mark = None
        if self._misses < MAX_MISSES:
            mark = MARK.search(text, at)
            may_be_mark = mark or _MAY_BE_MARK.search(text, at)
        end = len(text) if may_be_mark is None else may_be_mark.start()
        self._say(text[at:end])
        if mark is None:
            self._held = text[end:]
            return len(text)
        self._mark, self._list, self._extent = mark[0], [], JSONExtent(calls=True)
        return mark.end()

    def _follow(self, text: str, at: int) -> tuple[str, int]:
        """Follow a list of calls to its end. Returns the text that is left, and where."""
        assert self._extent is not None
        try:
            end = self._extent.feed(text, at)
            if not self._extent.ended:
                self._list.append(text[at:end])
                self._held = text[end:]
                return text, len(text)
            whole = "".join((self._mark, *self._list, text[at:end]))
            calls, _ = calls_at(whole, len(self._mark))
        except (ValueError, RecursionError):
            return self._miss(text, at)
        self._extent = None
        if calls and all(is_declared(call, self._allowed) for call in calls):
            for call in calls:
                self._deltas.append(CallDelta(self._calls, call.name, json.dumps(call.arguments, ensure_ascii=False)))
                self._calls += 1
            self._after = self._mark
        else:
            self._say(whole)
        return text, end

    def _follow_certain(self, text: str, at: int) -> tuple[str, int]:
        """Follow a list that can only be one of calls, and send their parts."""
        if self._extent is not None and text[at] != "[":
            return self._miss(text, at)
        if self._arguments is not None and not self._arguments.ended:
            try:
                end = self._arguments.feed(text, at)
            except ValueError:  # nested too deep
                self._arguments, self._misses = None, MAX_MISSES
                return text, at
            self._send_arguments(text[at:end])
            if self._arguments.ended:
                return text, end
            self._held = text[end:]
            return text, len(text)
        found = _NEXT_CALL.match(text, at)
        if found is None:
            self._held = text[at:]
            return text, len(text)
        self._extent = None
        if found[1] is None:
            self._arguments, self._after = None, self._mark
        else:
            self._arguments = JSONExtent(calls=False)
            self._deltas.append(CallDelta(self._calls, found[1], ""))
            self._calls += 1
        return text, found.end()

    def _send_arguments(self, text: str) -> None:
        if text:
            self._deltas.append(CallDelta(self._calls - 1, None, text))

    def _miss(self, text: str, at: int) -> tuple[str, int]:
        """The mark began no calls: it is text, and what follows it is read again."""
        self._misses += 1
        self._extent, self._held = None, ""
        self._say(self._mark)
        return "".join((self._mark, *self._list, text[at:])), len(self._mark)

    def _skip_end(self, text: str, at: int) -> int:
        """Pass white space, the end tag of the list before it, and white space after that."""
        at = skip_blanks(text, at)
        if self._after == CALL and text.startswith(CALL_END, at):
            at = skip_blanks(text, at + len(CALL_END))
            self._after = FUNCTOOLS  # which has no end tag
        if at < len(text):
            if self._after == CALL and CALL_END.startswith(text[at:]):
                self._held = text[at:]
                return len(text)
            self._after = ""
        return at

    def _say(self, text: str) -> None:
        """Send text, without white space at both ends of the answer."""
        if self._blanks is None:
            text = text.lstrip()
        if not text:
            return
        said = text.rstrip()
        if said:
            self._deltas.append("".join((*(self._blanks or ()), said)))
            self._blanks = []
        if self._blanks is not None and len(said) < len(text):
            self._blanks.append(text[len(said) :])
