"""Does phi4mm pass on every Python that is here, with the newest and with the oldest versions that it allows?

In a fresh environment each: every Python of pyproject's range that is found (on the path or under ~/.pyenv) with the
newest versions, and this Python with exactly the lower bounds of pyproject. transformers and peft, which need newer
versions of what phi4mm needs too, are left out, so that only the fast tests and those of the kernels run.

    python bench/versions.py [--only lowest] [--only 3.12]

A line an environment on stderr, one JSON line last; exit status 1 where a test fails or the versions do not install.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

from measure import provenance

ROOT = Path(__file__).parent.parent
LEFT_OUT = ("transformers", "peft")
# In this order: pytest 8.3 drops without a word what follows a file that holds options.
TESTS = ("tests/kernels", "@tests/fast.txt")


def requirements(*extras: str) -> list[str]:
    """What phi4mm with these extras needs, as pyproject says, without what is left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = list(project["dependencies"])
    for extra in extras:
        for line in project["optional-dependencies"][extra]:
            inner = re.fullmatch(r"phi4mm\[([\w,]+)\]", line)  # this project's own extras, no package of an index
            found += requirements(*inner[1].split(",")) if inner else [line]
    return [line for line in dict.fromkeys(found) if re.split(r"[<>=]", line)[0] not in LEFT_OUT]


def lowest(requirement: str) -> str:
    """`name>=1.2,<3` as `name==1.2`."""
    name, bound = re.match(r"([\w-]+)>=([\d.]+)", requirement).groups()
    return f"{name}=={bound}"


def pythons() -> dict[str, str]:
    """Path of every Python from pyproject's lowest on, by its number."""
    first = int(re.search(r'requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text())[1])
    found = {}
    for minor in range(first, first + 10):
        name = f"python3.{minor}"
        places = [shutil.which(name), *map(str, sorted(Path.home().glob(f".pyenv/versions/*/bin/{name}")))]
        for place in filter(None, places):
            # pyenv puts a program of every version on the path, which fails for those that are not chosen.
            if subprocess.run([place, "-c", ""], capture_output=True, check=False).returncode == 0:
                found[f"3.{minor}"] = place
                break
    return found


def attempt(python: str, wanted: list[str]) -> dict[str, Any]:
    """Install `wanted` and phi4mm in a fresh environment and run the tests there."""
    start, lines = time.perf_counter(), ""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as folder:
        inside = f"{folder}/env/bin/python"
        pip = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        freeze = [inside, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
        installed: dict[str, str] = {}
        for command in (
            [python, "-m", "venv", f"{folder}/env"],
            [*pip, *wanted],
            [*pip, "--no-deps", str(ROOT)],
            freeze,
            [inside, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS],
        ):
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            lines = done.stdout + done.stderr
            if command is freeze:
                installed = {package["name"]: package["version"] for package in json.loads(done.stdout)}
            if done.returncode != 0:
                break
    names = {re.split(r"[<>=]", line)[0].replace("_", "-").lower() for line in wanted}
    said = [line for line in lines.splitlines() if re.match(r"(FAILED|ERROR)\b|.*\d (passed|failed|error).* in ", line)]
    return {
        "passed": done.returncode == 0,
        "said": said[-12:],
        "seconds": round(time.perf_counter() - start),
        "versions": {n: v for n, v in installed.items() if n.replace("_", "-").lower() in names},
    }


def main() -> int:
    """Parse arguments, try each environment, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="lowest, or numbers of Python")
    args = parser.parse_args()
    stated = requirements("synth", "structured", "test")
    here = ".".join(platform.python_version_tuple()[:2])
    plan = [(f"{number} newest", number, python, stated) for number, python in pythons().items()]
    plan.append((f"{here} lowest", "lowest", sys.executable, [lowest(line) for line in stated]))
    results = {}
    for name, key, python, wanted in plan:
        if not args.only or key in args.only:
            results[name] = attempt(python, wanted)
            print(name, json.dumps(results[name]), file=sys.stderr, flush=True)
    print(json.dumps({"environments": results, "provenance": provenance()}))
    return 0 if all(result["passed"] for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
