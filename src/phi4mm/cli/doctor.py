"""`phi4mm doctor`: show what this machine can do, which settings would be chosen on it, and why."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

BYTES = ("free", "total", "disk", "bfloat16", "int8", "int4")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `doctor`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the report. Returns exit code 0."""
    from phi4mm.diagnostics.hardware import describe

    report = describe()
    print(json.dumps(report) if args.json else as_text(report))
    return 0


def as_text(report: Mapping[str, Any]) -> str:
    """The report as text: one heading per section, one line per fact, bytes as GiB."""
    return "\n".join(_outline(report, ""))


def _outline(facts: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield f"{indent}{name}" + ("" if value else ": none")
            yield from _outline(value, indent + "  ")
        else:
            yield f"{indent}{name}: {_fact(name, value)}"


def _fact(name: str, value: Any) -> str:
    if name in BYTES:
        return f"{value / 2**30:.1f} GiB"
    if isinstance(value, (list, tuple)):
        return ("; " if name == "reasons" else " ").join(map(str, value)) or "none"
    return "none" if value is None else str(value)
