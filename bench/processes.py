"""Do hundreds of processes, each begun from nothing, give one and the same answer?

Every process imports phi4mm, loads nano and answers one greedy question about an image, two processes at a time, so
that they share the cores and the file system's cache. What differs by the address space, the order of threads or the
hash of strings would show here and in no test of one process.

    python bench/processes.py [--count 200] [--together 2]

One JSON line last; exit status 1 where an answer differs or a process fails.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from measure import provenance

IMAGE = Path(__file__).parent.parent / "examples" / "scene.png"
ASK = """
import sys, phi4mm
model = phi4mm.load("nano", device="cpu")
reply = model.chat("What is shown in this image?", images=[sys.argv[1]], params=phi4mm.SamplingParams(temperature=0.0))
print(reply.text)
"""


def ask(number: int) -> tuple[str, float]:
    """The answer of one fresh process, or how it failed, and its seconds."""
    start = time.perf_counter()
    command = [sys.executable, "-c", ASK, str(IMAGE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    answer = done.stdout if done.returncode == 0 else f"exit status {done.returncode}: {done.stderr[-300:]}"
    return answer, time.perf_counter() - start


def main() -> int:
    """Parse arguments, run, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--together", type=int, default=2)
    args = parser.parse_args()
    with ThreadPoolExecutor(args.together) as pool:
        answers, seconds = zip(*pool.map(ask, range(args.count)), strict=True)
    counts = Counter(answers)
    wrong = len(counts) != 1 or next(iter(counts)).startswith("exit status")
    record = {
        "processes": args.count,
        "together": args.together,
        "answers": dict(counts),
        "median_s": round(statistics.median(seconds), 2),
        "slowest_s": round(max(seconds), 2),
    }
    print(json.dumps(record | {"provenance": provenance()}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
