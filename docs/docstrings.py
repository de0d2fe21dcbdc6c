"""The project's plain docstrings as Markdown: a Griffe extension.

A docstring lists parameters, attributes and errors as aligned lines, `name  meaning`, whose continuation lines are
indented. Such lines become a definition list; indented blocks (drawings, trees of names) are shown as they stand.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

ENTRY = re.compile(r"(?P<name>\S+(?: \S+)*?)(?P<gap>  +)(?P<meaning>\S.*)")


class PlainDocstrings(griffe.Extension):
    """Rewrites each docstring once, after its object is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for every module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """A docstring in the project's form, as Markdown."""
    lines: list[str] = []
    column = 0  # of the meanings in the list that is being read; 0 outside a list
    block: list[str] = []  # indented lines that stand for themselves
    for line in [*text.rstrip().split("\n"), ""]:
        if block and not line.startswith(" "):
            lines += ["", "```text", *textwrap.dedent("\n".join(block)).split("\n"), "```", ""]
            block = []
        entry = _entry(line, column)
        if line.startswith(" ") and column:
            lines.append(f"    {line.strip()}")
        elif line.startswith(" "):
            block.append(line)
        elif entry:
            name, meaning, column = entry
            lines += ["", name, f":   {meaning}"]
        else:
            column = 0
            lines.append(line)
    return "\n".join(lines)


def _entry(line: str, column: int) -> tuple[str, str, int] | None:
    """Name and meaning of a list's line, and the column of its meaning."""
    if line.startswith(" "):
        return None
    if found := ENTRY.fullmatch(line):
        return _code(found["name"]), found["meaning"], column or found.start("meaning")
    if column and line[column - 1 : column] == " " and line[column : column + 1].strip():
        return _code(line[:column].strip()), line[column:], column  # a name as wide as its column
    return None


def _code(names: str) -> str:
    """`a`, `b` from "a, b"."""
    return ", ".join(f"`{name}`" for name in names.split(", "))
