"""`phi4mm inspect MODEL`: show what is in a checkpoint and how much memory it needs."""

from __future__ import annotations

import argparse
import json
from typing import Any

from phi4mm.nano.about import KNOWS, TRY

PLANNED_TOKENS = (4096, 32_768, 131_072)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `inspect`."""
    parser.add_argument("model", metavar="MODEL", help="`nano`, a folder, or a hub id, which is downloaded")
    parser.add_argument("--revision", metavar="NAME", help="branch, tag or commit of a hub id")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the report. Returns exit code 0; a checkpoint that is incomplete raises CheckpointError."""
    from phi4mm.checkpoint.hub import resolve
    from phi4mm.diagnostics.inspect import describe

    report = describe(resolve(args.model, revision=args.revision))
    print(json.dumps(report) if args.json else as_text(report))
    if args.model == "nano" and not args.json:
        print("\n".join(["", KNOWS, "try", *(f"  {command}" for command in TRY)]))
    return 0


def as_text(report: dict[str, Any]) -> str:
    """The report as text."""
    kind = f"quantized in {report['quantization']}" if report["quantization"] else f"{report['layout']} layout"
    lines = [f"{report['folder']}: {kind}, {report['tensors']} tensors, {', '.join(report['dtypes'])}"]
    rows = [(part, facts["parameters"], facts["bytes"]) for part, facts in report["parts"].items()]
    lines += _table("part", [*rows, ("total", report["parameters"], report["bytes"])])
    lines.append(f"plus {report['buffer_elements']} constants, which are not counted as parameters")
    lines += ["", *_memory_plan(report["memory"]["weights"], report["memory"]["cache_per_token"], report["context"])]
    lines += ["", "files", *(f"  {size:>15,} {name}" for name, size in report["files"].items())]
    if report["training"] is not None:
        lines += ["", "training", *_facts(report["training"], "  ")]
    lines += ["", f"never read: {report['unused_parameters']:,} parameters in {len(report['unused_tensors'])} tensors"]
    lines += [f"  {name}" for name in report["unused_tensors"] + report["ignored_tensors"]]
    return "\n".join(lines)


def _memory_plan(weights: dict[str, int], cache: dict[str, int], context: int) -> list[str]:
    """Memory for the weights in each precision, with a KV cache in 16 or 8 bits for sequences of several lengths."""
    lengths = [tokens for tokens in PLANNED_TOKENS if tokens <= context]
    columns = [(tokens, dtype) for tokens in lengths for dtype in ("bfloat16", "int8")]
    head = "".join(f"{f'{tokens // 1024}k {dtype}':>14}" for tokens, dtype in columns)
    lines = [f"memory{'weights':>17}{head}   with a KV cache of so many tokens"]
    for precision, size in weights.items():
        totals = "".join(f"{_gib(size + tokens * cache[dtype]):>14}" for tokens, dtype in columns)
        lines.append(f"  {precision:<9}{_gib(size):>12}{totals}")
    return [*lines, "  KV cache alone       " + "".join(f"{_gib(t * cache[dtype]):>14}" for t, dtype in columns)]


def _table(heading: str, rows: list[tuple[str, int, int]]) -> list[str]:
    return [
        f"  {heading:<18} {'parameters':>14} {'bytes':>15}",
        *(f"  {name:<18} {parameters:>14,} {size:>15,}" for name, parameters, size in rows),
    ]


def _facts(facts: dict[str, Any], indent: str) -> list[str]:
    """One line per fact; nested facts are indented, those of a score stand on its line."""
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict) and "interval" in value:
            lines.append(f"{indent}{name}: " + ", ".join(f"{key} {_shown(each)}" for key, each in value.items()))
        elif isinstance(value, dict):
            lines += [f"{indent}{name}", *_facts(value, indent + "  ")]
        else:
            lines.append(f"{indent}{name}: {_shown(value)}")
    return lines


def _shown(value: object) -> object:
    return "; ".join(map(str, value)) if isinstance(value, list) else value


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
