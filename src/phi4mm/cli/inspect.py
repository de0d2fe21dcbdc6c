"""`phi4mm inspect MODEL`: what is in a checkpoint, known from its headers; no weight is read."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any, TypeAlias

from phi4mm.config_files import read_json

Report: TypeAlias = dict[str, Any]
PARTS = (
    "text",
    "vision adapter",
    "speech adapter",
    "image tower",
    "image projection",
    "audio encoder",
    "audio projections",
)
BYTES_EACH = {"float32": 4, "bfloat16": 2}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `inspect`."""
    parser.add_argument("model", metavar="MODEL", help="`nano`, a folder or a hub id (which is downloaded)")
    parser.add_argument("--revision", metavar="NAME", help="branch, tag or commit of a hub id")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the report; 0 if the checkpoint is whole."""
    from phi4mm.checkpoint.hub import resolve

    report = describe(resolve(args.model, revision=args.revision))
    print(json.dumps(report) if args.json else as_text(report))
    return 0


def describe(folder: Path) -> Report:
    """Layout, parts, what is never read, memory in bytes, files, and training.json where there is one.

    raises  ConfigError, CheckpointError
    """
    from phi4mm.checkpoint.contents import is_unused, part_of, read_contents
    from phi4mm.checkpoint.keys import stored_name

    contents = read_contents(folder)
    config, text = contents.config, contents.config.text
    parameters: Counter[str] = Counter()
    stored_bytes: Counter[str] = Counter()
    for name, tensor in contents.tensors.items():
        stored_bytes[part_of(name)] += tensor.nbytes
        parameters[part_of(name)] += 0 if name in contents.buffers else tensor.elements
    unused = [name for name in contents.tensors if is_unused(name, config)]
    elements = sum(tensor.elements for tensor in contents.tensors.values())
    cached = 2 * text.num_layers * text.num_kv_heads * text.head_dim
    return {
        "folder": str(folder),
        "layout": config.layout,
        "dtypes": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in contents.tensors.values()}),
        "tensors": len(contents.tensors),
        "parts": {part: {"parameters": parameters[part], "bytes": stored_bytes[part]} for part in PARTS},
        "parameters": parameters.total(),
        "bytes": stored_bytes.total(),
        "buffer_elements": elements - parameters.total(),
        "unused_parameters": sum(contents.tensors[name].elements for name in unused),
        "unused_tensors": [stored_name(name, config.layout).name for name in unused],
        "ignored_tensors": list(contents.ignored),
        "memory": {
            dtype: {"weights": elements * size, "cache_per_token": cached * size} for dtype, size in BYTES_EACH.items()
        },
        "files": files(folder),
        "training": read_json(folder / "training.json") if (folder / "training.json").exists() else None,
    }


def files(folder: Path) -> dict[str, int]:
    """Bytes of each JSON and safetensors file of a model folder, adapter folders included."""
    paths = (path for pattern in ("*", "*-lora/*") for path in folder.glob(pattern))
    found = sorted(path for path in paths if path.suffix in {".json", ".safetensors"} and path.is_file())
    return {str(path.relative_to(folder)): path.stat().st_size for path in found}


def as_text(report: Report) -> str:
    """The report for a person."""
    lines = [
        f"{report['folder']}: {report['layout']} layout, {report['tensors']} tensors, {', '.join(report['dtypes'])}"
    ]
    rows = [(part, facts["parameters"], facts["bytes"]) for part, facts in report["parts"].items()]
    lines += _table("part", [*rows, ("total", report["parameters"], report["bytes"])])
    lines.append(f"besides {report['buffer_elements']} numbers that are constants and no parameters")
    lines += ["", "memory        weights   cache for 1000 tokens"]
    for dtype, need in report["memory"].items():
        lines.append(f"  {dtype:<9} {_gib(need['weights']):>9} {_gib(1000 * need['cache_per_token']):>12}")
    lines += ["", f"never read: {report['unused_parameters']:,} parameters in {len(report['unused_tensors'])} tensors"]
    lines += [f"  {name}" for name in report["unused_tensors"] + report["ignored_tensors"]]
    lines += ["", "files", *(f"  {size:>15,} {name}" for name, size in report["files"].items())]
    if report["training"] is not None:
        lines += ["", "training", *_facts(report["training"], "  ")]
    return "\n".join(lines)


def _table(heading: str, rows: list[tuple[str, int, int]]) -> list[str]:
    return [
        f"  {heading:<18} {'parameters':>14} {'bytes':>15}",
        *(f"  {name:<18} {parameters:>14,} {size:>15,}" for name, parameters, size in rows),
    ]


def _facts(facts: dict[str, Any], indent: str) -> list[str]:
    """Nested facts, a line each, inner ones further in."""
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}", *_facts(value, indent + "  ")]
        else:
            shown = "; ".join(map(str, value)) if isinstance(value, list) else value
            lines.append(f"{indent}{name}: {shown}")
    return lines


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
