"""`phi4mm verify CHECKPOINT --golden FILE`: compare a checkpoint with numbers of the published implementation."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phi4mm.diagnostics.verify import Group


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `verify`."""
    parser.description = (
        "Compare a checkpoint, in float32, with a golden file recorded from the published implementation."
    )
    parser.add_argument("model", metavar="MODEL", help="a folder with config.json and weights, or a hub id")
    parser.add_argument(
        "--golden", required=True, type=Path, metavar="FILE", help="file with the recorded numbers (.npz)"
    )
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu or cuda (default: cpu)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per group")


def run(args: argparse.Namespace) -> int:
    """Print one line per group of keys. Returns 1 if a key is outside its bound or was not checked, else 0."""
    from phi4mm.checkpoint.hub import resolve
    from phi4mm.diagnostics.verify import read_golden, verify_folder

    golden = read_golden(args.golden)
    groups = keys = missed = 0
    for group in verify_folder(resolve(args.model), golden, device=args.device):
        print(_json(group) if args.json else _line(group), flush=True)
        groups, keys = groups + 1, keys + len(group.findings)
        missed += sum(not finding.ok for finding in group.findings)
    verdict = "all within bounds" if not missed else f"{missed} MISSED"
    print(f"{groups} groups, {keys} of {len(golden)} keys checked, {verdict}", file=sys.stderr)
    return 1 if missed or keys != len(golden) else 0


def _line(group: Group) -> str:
    worst = group.worst
    measure = f"worst {worst.key}: error {worst.error:.1e}, bound {worst.bound:.0e}" if worst.bound else "identical"
    if not worst.ok and not worst.bound:
        measure = f"{worst.key}: {worst.error:.0f} entries differ"
    return f"{'ok  ' if group.ok else 'MISS'} {group.name:<28} {len(group.findings):>2} keys  {measure}"


def _json(group: Group) -> str:
    findings = {
        f.key: {"error": f.error if math.isfinite(f.error) else None, "bound": f.bound, "ok": f.ok}
        for f in group.findings
    }
    return json.dumps({"group": group.name, "ok": group.ok, "findings": findings})
