"""`phi4mm quantize MODEL OUT`: write a checkpoint in 8 or 4 bits, which is memory-mapped when it is loaded."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from phi4mm.config.engine import Quantization

SCHEMES: dict[int, Quantization] = {8: "int8", 4: "int4"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `quantize`."""
    parser.add_argument("model", metavar="MODEL", help="`nano`, a folder or a hub id")
    parser.add_argument("out", metavar="OUT", type=Path, help="a new folder, written completely or not at all")
    parser.add_argument(
        "--bits", required=True, type=int, choices=SCHEMES, help="of decoder and adapter weights; towers always take 8"
    )
    parser.add_argument("--revision", metavar="NAME", help="branch, tag or commit of a hub id")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Quantize, one weight in memory at a time, and print what was written; show progress if stderr is a terminal."""
    from phi4mm.checkpoint.hub import resolve
    from phi4mm.checkpoint.quantize import quantize_folder
    from phi4mm.diagnostics.inspect import files

    scheme = SCHEMES[args.bits]
    source = resolve(args.model, revision=args.revision)
    quantize_folder(source, args.out, scheme=scheme, progress=_show_progress if sys.stderr.isatty() else None)
    written = files(args.out)
    if args.json:
        print(json.dumps({"folder": str(args.out), "scheme": scheme, "files": written}))
    else:
        lines = [f"{args.out}: {scheme}", *(f"  {size:>15,} {name}" for name, size in written.items())]
        print("\n".join(lines))
    return 0


def _show_progress(done: int, total: int) -> None:
    end = "\n" if done == total else ""
    print(f"\r{done} of {total} tensors", end=end, file=sys.stderr, flush=True)
