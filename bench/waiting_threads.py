"""How should waiting OpenMP threads wait: by spinning, asleep, or as phi4mm sets it? Idle, busy, and under a CPU quota.

Each way runs in fresh processes, in turn, alone, beside one busy process for each core, and under a quota of half the
cores, which the other two ways do not count (this needs root): tokens a second of nano's answers and, with a FOLDER of
published sizes, seconds for a prompt of 100 tokens and 24 answered ones. FOLDER is one of bench/make_published.py, with
a tokenizer such as that of bench/turns/vocabulary.py.

    python bench/waiting_threads.py [FOLDER] [--turns 3]

A table on stderr, one JSON line last: medians, and how far phi4mm's way is from the better of the other two.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

WAYS: dict[str, dict[str, str]] = {
    "spinning": {"OMP_WAIT_POLICY": "active"},
    "asleep": {"OMP_WAIT_POLICY": "passive"},
    "phi4mm": {},
}
SECONDS = 3.0  # of nano's answers


def main() -> None:
    """Run all turns, or with --one a single measurement in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="a checkpoint of published sizes")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps({"figure": seconds_of(args.folder) if args.folder else nano_tok_s()}))
        return
    from measure import provenance  # imports torch, which --one must not do before phi4mm

    record: dict[str, object] = {}
    for load in ("idle", "busy", "quota"):
        for name, folder in (("nano_tok_s", None), *((("published_s", args.folder),) if args.folder else ())):
            figures = {way: [] for way in WAYS}
            for _ in range(args.turns):
                for way in WAYS:
                    figures[way].append(measured(way, folder, load))
            medians = {way: statistics.median(values) for way, values in figures.items()}
            best = max if folder is None else min
            better = best(medians["spinning"], medians["asleep"])
            ratio = better / medians["phi4mm"] if folder is None else medians["phi4mm"] / better
            record[f"{load}_{name}"] = medians | {"times_the_better": round(ratio, 3)}
            print(f"{load:<6}{name:<12}{medians}  {ratio:.2f} times the better of the others", file=sys.stderr)
    print(json.dumps({"turns": args.turns, **record, **provenance()}))


def measured(way: str, folder: Path | None, load: str) -> float:
    """One figure of a fresh process: alone ("idle"), beside a process for each core ("busy"), or under a "quota"."""
    kept = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    if load == "quota" and way != "phi4mm":
        kept["OMP_NUM_THREADS"] = str(cores())  # phi4mm would count the quota for these ways too
    command = [sys.executable, __file__, "--one", *([str(folder)] if folder else [])]
    with busy(cores()) if load == "busy" else quota(cores() / 2) if load == "quota" else nullcontext([]) as words:
        done = subprocess.run([*words, *command], env=kept | WAYS[way], stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["figure"])


@contextmanager
def busy(count: int) -> Iterator[list[str]]:
    """As many processes that do nothing but keep a core busy; no words before a command."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield []
    finally:
        for other in others:
            other.kill()
            other.wait()


@contextmanager
def quota(seconds: float) -> Iterator[list[str]]:
    """The words before a command that let it use so many CPU seconds a second. Raises OSError without the right to."""
    first = Path("/sys/fs/cgroup/cpu")  # control groups of version 1
    group = (first if first.is_dir() else first.parent) / f"phi4mm-{os.getpid()}"
    group.mkdir()
    try:
        if first.is_dir():
            (group / "cpu.cfs_quota_us").write_text(f"{seconds * 100_000:.0f}")
        else:
            (group / "cpu.max").write_text(f"{seconds * 100_000:.0f} 100000")
        yield ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group)]
    finally:
        group.rmdir()


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def nano_tok_s() -> float:
    """Tokens a second of one answer after another."""
    import phi4mm

    params = phi4mm.SamplingParams(max_tokens=120, temperature=1.0, seed=1)
    with phi4mm.load("nano", device="cpu") as model:
        model.chat("Hello.", params=params)
        start, tokens, number = time.perf_counter(), 0, 0
        while time.perf_counter() - start < SECONDS:
            tokens += model.chat(f"Tell me about number {number}.", params=params).usage.completion_tokens
            number += 1
        return round(tokens / (time.perf_counter() - start), 1)


def seconds_of(folder: Path) -> float:
    """Seconds for a prompt of 100 tokens and 24 answered ones, the best of three."""
    import phi4mm

    args = phi4mm.EngineArgs(enable_prefix_caching=False, num_speculative_tokens=0)
    with phi4mm.load(folder, device="cpu", engine_args=args) as model:
        found = []
        for number in range(3):
            start = time.perf_counter()
            params = phi4mm.SamplingParams(max_tokens=24, temperature=1.0, seed=number)
            model.chat("a " * 50, params=params)
            found.append(time.perf_counter() - start)
        return round(min(found), 3)


if __name__ == "__main__":
    main()
