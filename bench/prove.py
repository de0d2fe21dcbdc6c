"""The proofs that take too long for every change: each leaves a record of what was proved, when, where, of which code.

    python bench/prove.py            # lists the parts and their last records
    python bench/prove.py all        # runs all of them, or those that are named
    python bench/prove.py soak fuzz

A record, bench/results/prove/PART.json, holds the commands, their exit statuses, whether all of them passed, and the
last line of each: its JSON, or what pytest says. A record of a dirty checkout proves nothing of its commit, and says
that it is one. Exit status 1 where a part fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from phi4mm.machine import cpu_name, memory, usable_cores

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "bench" / "results" / "prove"
GB = 1e9
# Commands after `python`; a word NAME=VALUE before them is put into the environment.
PARTS = {
    "soak": (
        ("bench/soak.py", "--requests", "2000"),
        ("bench/soak.py", "--requests", "2000", "--kv-cache-dtype", "int8"),
    ),
    "fuzz": (
        ("bench/fuzz.py", "--cases", "10000"),
        (
            "PHI4MM_EXAMPLES=10000",
            "-m",
            "pytest",
            "-q",
            "-m",
            "property",
            "tests/processing",
            "tests/engine/test_kv_pages.py",
        ),
    ),
    "media": (
        ("bench/media.py", "--cases", "10000"),
        ("PHI4MM_EXAMPLES=10000", "-m", "pytest", "-q", "-m", "property", "tests/server/test_preparing.py"),
    ),
    "processes": (
        ("bench/processes.py", "--count", "500"),
        ("bench/processes.py", "--count", "200", "--without-remedy"),
    ),
    "native": (("-m", "tests.kernels.builds", "generic"), ("-m", "tests.kernels.builds", "sanitized")),
    "sdist": (("-m", "tests.packages", "--all"),),
    "versions": (("bench/versions.py",),),
}


def run(command: tuple[str, ...]) -> tuple[int, Any]:
    """A command's exit status, and what it says last; all that it says is shown."""
    settings = dict(word.split("=", 1) for word in command if word[:1].isupper() and "=" in word)
    words = [sys.executable, *(word for word in command if word.partition("=")[0] not in settings)]
    print("$", *command, flush=True)
    last = ""
    with subprocess.Popen(words, cwd=ROOT, env=os.environ | settings, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    try:
        said = json.loads(last)
    except ValueError:
        said = last
    return process.returncode, said


def prove(part: str) -> bool:
    """Run a part and leave its record."""
    # The records themselves change nothing that is proved.
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results")
    commit, dirty = git("rev-parse", "HEAD"), changed != ""
    began, start = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()), time.perf_counter()
    results = [run(command) for command in PARTS[part]]
    record = {
        "part": part,
        "command": [" ".join(command) for command in PARTS[part]],
        "started": began,
        "seconds": round(time.perf_counter() - start, 1),
        "commit": commit,
        "dirty": dirty,
        "processor": cpu_name(),
        "cores": usable_cores(),
        "memory_gb": round(memory().total / GB, 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "passed": all(status == 0 for status, _ in results),
        "status": [status for status, _ in results],
        "figures": [said for _, said in results],
    }
    RECORDS.mkdir(parents=True, exist_ok=True)
    written = RECORDS / f"{part}.json.part"
    written.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(written, RECORDS / f"{part}.json")
    return bool(record["passed"])


def git(*words: str) -> str:
    """What git says; nothing in a folder that is no checkout."""
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def listed(part: str) -> str:
    """A part and its last record in one line."""
    path = RECORDS / f"{part}.json"
    if not path.exists():
        return f"{part:10} never run"
    record = json.loads(path.read_text(encoding="utf-8"))
    result, dirty = "passed" if record["passed"] else "FAILED", " (dirty)" if record["dirty"] else ""
    return (
        f"{part:10} {result}  {record['started']}  {record['commit'][:10]}{dirty}  {record['seconds']:.0f} s"
        f"  {record['processor']}, {record['cores']} cores, {record['memory_gb']:.0f} GB"
    )


def main() -> int:
    """Run what is named, then list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, "all", []], metavar="PART", help="a part's name, or all")
    parser.add_argument("--list", action="store_true", help="only list, as without any name")
    args = parser.parse_args()
    chosen = [] if args.list else list(PARTS) if "all" in args.parts else args.parts
    passed = [prove(part) for part in chosen]
    for part in PARTS:
        print(listed(part))
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
