"""`phi4mm doctor`: what this machine can do, and what would be chosen on it, with reasons."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `doctor`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the report; 0 unless the machine cannot be described."""
    from phi4mm.diagnostics.hardware import describe

    report = describe()
    print(json.dumps(report) if args.json else as_text(report))
    return 0


def as_text(report: Mapping[str, Any]) -> str:
    """The report for a person: a heading a section, a line a fact, bytes as GiB."""
    return "\n".join(_outline(report, ""))


def _outline(facts: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield f"{indent}{name}" + ("" if value else ": none")
            yield from _outline(value, indent + "  ")
        else:
            yield f"{indent}{name}: {_fact(name, value)}"


def _fact(name: str, value: Any) -> str:
    if name in ("free", "total"):
        return f"{value / 2**30:.1f} GiB"
    if isinstance(value, (list, tuple)):
        return ("; " if name == "reasons" else " ").join(map(str, value)) or "none"
    return str(value)
