"""Is one version of phi4mm faster than another? Turns of both, one after the other, and the ratio with its interval.

    python bench/compare.py OLD_SOURCE MODEL [--new SOURCE] [--pairs 10] [--prompt 512] [--tokens 24] [--threads 2]

OLD_SOURCE and --new (default: this checkout's) are `src` folders; each turn is a fresh process. Machines drift by tens
of percent within minutes, so only neighbours are compared: a pair is one turn of each, in alternating order, and the
interval is that of the mean logarithm of the pairs' ratios (Student's t). A letter must be a token of MODEL,
as in that of bench/turns/vocabulary.py, which `--vocabulary` puts there. A line a pair on stderr, one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from measure import provenance

TURNS = Path(__file__).parent / "turns"
FIGURES = ("prefill_tok_s", "decode_tok_s", "load_s", "ready_s")
# Two-sided 95 % points of Student's t by degrees of freedom; beyond the table the last one is wide enough.
STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.10)


def turn(source: Path, args: argparse.Namespace) -> dict[str, Any]:
    """One turn of the version in `source`."""
    command = [sys.executable, str(TURNS / "own_turn.py"), str(args.model)]
    for name in ("prompt", "tokens", "threads"):
        command += [f"--{name}", str(getattr(args, name))]
    environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": str(args.threads)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return record


def interval(ratios: list[float]) -> dict[str, float]:
    """Geometric mean of the ratios and its 95 % interval."""
    logs = [math.log(ratio) for ratio in ratios]
    wide = STUDENT[min(len(logs) - 1, len(STUDENT)) - 1] * statistics.stdev(logs) / math.sqrt(len(logs))
    mean = statistics.mean(logs)
    return {"ratio": math.exp(mean), "low": math.exp(mean - wide), "high": math.exp(mean + wide)}


def main() -> None:
    """Take the turns and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--new", type=Path, default=Path(__file__).parent.parent / "src")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vocabulary", action="store_true", help="write the stand-in tokenizer into MODEL first")
    args = parser.parse_args()
    if args.vocabulary:
        sys.path.insert(0, str(TURNS))
        from vocabulary import tokenizer_json

        (args.model / "tokenizer.json").write_text(json.dumps(tokenizer_json()), encoding="utf-8")
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for number in range(args.pairs):
        if number % 2:
            new, old = turn(args.new, args), turn(args.old, args)
        else:
            old, new = turn(args.old, args), turn(args.new, args)
        pairs.append((old, new))
        shown = "  ".join(f"{name} {old[name]:.2f} -> {new[name]:.2f}" for name in FIGURES)
        print(f"pair {number + 1}/{args.pairs}  {shown}", file=sys.stderr, flush=True)
    figures = {
        name: interval([new[name] / old[name] for old, new in pairs])
        | {"old": statistics.median(old[name] for old, _ in pairs), "new": statistics.median(n[name] for _, n in pairs)}
        for name in FIGURES
    }
    shown = {name: getattr(args, name) for name in ("pairs", "prompt", "tokens", "threads")}
    record = {"bench": "compare", "model": args.model.name, **shown, "new_over_old": figures}
    print(json.dumps(record | {"provenance": provenance()}))


if __name__ == "__main__":
    main()
