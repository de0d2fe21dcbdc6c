"""Compares the speed of two versions of phi4mm: alternating turns, and the ratio with its confidence interval.

    python bench/compare.py OLD_SOURCE MODEL [--new SOURCE] [--pairs 10] [--prompt 512] [--tokens 24] [--threads 2]

OLD_SOURCE and --new (default: that of this checkout) are `src` folders. Each version is loaded once in its own process,
and the two take turns. The speed of a shared machine changes by tens of percent within minutes, so only turns that
follow each other are compared: a pair is one turn of each version, in alternating order, and the interval is that of
the mean logarithm of the pairs' ratios (Student's t). Each letter must be one token of MODEL, as in the tokenizer of
bench/turns/vocabulary.py, which `--vocabulary` writes there. If the speed changes within seconds, `--together` runs
both turns of a pair at the same time, each on one core, and swaps the cores after each pair: other load then slows
both. Prints a line per pair on stderr and one JSON line last.
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
FIGURES = ("prefill_tok_s", "decode_tok_s")
# Two-sided 95 % points of Student's t by degrees of freedom; beyond the table the last one is wide enough.
STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.10)


class Version:
    """A process that holds one loaded version."""

    def __init__(self, source: Path, args: argparse.Namespace) -> None:
        command = [sys.executable, str(TURNS / "own_turn.py"), str(args.model)]
        for name in ("prompt", "tokens", "threads"):
            command += [f"--{name}", str(getattr(args, name))]
        environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": str(args.threads)}
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def turn(self) -> dict[str, Any]:
        """Answer one prompt and return the figures."""
        self.begin()
        return self.result()

    def begin(self, core: int | None = None) -> None:
        """Start answering a prompt, on one core if `core` is given (Linux)."""
        assert self._process.stdin is not None
        if core is not None:
            for thread in Path(f"/proc/{self._process.pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {core})
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """The figures of the started prompt."""
        assert self._process.stdout is not None
        record: dict[str, Any] = json.loads(self._process.stdout.readline())
        return record

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def interval(ratios: list[float]) -> dict[str, float]:
    """Geometric mean of the ratios and its 95 % interval."""
    logs = [math.log(ratio) for ratio in ratios]
    half_width = STUDENT[min(len(logs) - 1, len(STUDENT)) - 1] * statistics.stdev(logs) / math.sqrt(len(logs))
    mean = statistics.mean(logs)
    return {"ratio": math.exp(mean), "low": math.exp(mean - half_width), "high": math.exp(mean + half_width)}


def main() -> None:
    """Take the turns and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--new", type=Path, default=Path(__file__).parent.parent / "src")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--together", action="store_true", help="both versions at once on one core each; needs --threads 1"
    )
    parser.add_argument("--vocabulary", action="store_true", help="write the stand-in tokenizer into MODEL first")
    args = parser.parse_args()
    if args.together and args.threads != 1:
        parser.error(f"--together gives each version one core, but --threads is {args.threads}; add --threads 1")
    if args.vocabulary:
        sys.path.insert(0, str(TURNS))
        from vocabulary import tokenizer_json

        (args.model / "tokenizer.json").write_text(json.dumps(tokenizer_json()), encoding="utf-8")
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = []
    older, newer = Version(args.old, args), Version(args.new, args)
    older.turn()  # the first turn of each is a warm-up
    newer.turn()
    for number in range(args.pairs):
        if args.together:
            first, second = (older, newer) if number % 2 else (newer, older)
            first.begin(0)
            second.begin(1)
            old, new = older.result(), newer.result()
        elif number % 2:
            new, old = newer.turn(), older.turn()
        else:
            old, new = older.turn(), newer.turn()
        pairs.append((old, new))
        shown = "  ".join(f"{name} {old[name]:.2f} -> {new[name]:.2f}" for name in FIGURES)
        print(f"pair {number + 1}/{args.pairs}  {shown}", file=sys.stderr, flush=True)
    older.close()
    newer.close()
    figures = {
        name: interval([new[name] / old[name] for old, new in pairs])
        | {"old": statistics.median(old[name] for old, _ in pairs), "new": statistics.median(n[name] for _, n in pairs)}
        for name in FIGURES
    }
    shown = {name: getattr(args, name) for name in ("pairs", "prompt", "tokens", "threads", "together")}
    record = {"bench": "compare", "model": args.model.name, **shown, "new_over_old": figures}
    print(json.dumps(record | {"provenance": provenance()}))


if __name__ == "__main__":
    main()
