"""`phi4mm convert MODEL OUT`: write a checkpoint in another layout or precision, or only its adapters."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from phi4mm.config.engine import DTYPES

LAYOUTS = ("original", "transformers", "adapters")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `convert`."""
    dtypes = [dtype for dtype in DTYPES if dtype != "auto"]
    parser.add_argument("model", metavar="MODEL", help="`nano`, a folder or a hub id")
    parser.add_argument("out", metavar="OUT", type=Path, help="a new folder, written completely or not at all")
    parser.add_argument(
        "--layout",
        required=True,
        choices=LAYOUTS,
        help="`adapters` writes only the two adapter folders",
    )
    parser.add_argument("--dtype", choices=dtypes, help="precision to store (default: unchanged)")
    parser.add_argument("--revision", metavar="NAME", help="branch, tag or commit of a hub id")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Convert, one tensor in memory at a time, and print what was written."""
    import torch

    from phi4mm.checkpoint.hub import resolve
    from phi4mm.checkpoint.save import convert
    from phi4mm.diagnostics.inspect import files

    source = resolve(args.model, revision=args.revision)
    convert(source, args.out, form=args.layout, dtype=None if args.dtype is None else getattr(torch, args.dtype))
    written = files(args.out)
    if args.json:
        print(json.dumps({"folder": str(args.out), "layout": args.layout, "files": written}))
    else:
        lines = [f"{args.out}: {args.layout}", *(f"  {size:>15,} {name}" for name, size in written.items())]
        print("\n".join(lines))
    return 0
