"""Does what is published work where nothing else is: the wheel in an empty folder, the sdist by its own tests?

    python -m tests.packages [--all]

Builds both, installs the wheel in an empty environment and answers with it, then replaces it by the sdist and runs the
tests that the sdist holds: those of tests/fast.txt, or all of them. Exit status 1 where anything fails.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = "[synth,train,structured,test]"


def run(*command: str | Path, at: Path) -> None:
    """One command in the folder `at`, without this checkout on its path. Raises CalledProcessError where it fails."""
    print("$", *command, flush=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([str(word) for word in command], cwd=at, env=environment, check=True)


def readme_example() -> str:
    """The first lines of the README's Python example, up to the first empty line after the answer is printed."""
    example = re.search(r"```python\n(.*?print\(.*?\n)\n", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    return example[1]


def try_wheel(python: Path, wheel: Path, at: Path) -> None:
    """Install the wheel and answer with it in a folder that holds only the examples' files."""
    run(python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", f"{wheel}{EXTRAS}", at=at)
    (at / "examples").symlink_to(ROOT / "examples")
    run(python.with_name("phi4mm"), "run", "nano", "-p", "Hello.", at=at)
    run(python, "-c", readme_example(), at=at)


def try_sdist(python: Path, sdist: Path, at: Path, *tests: str) -> None:
    """Install the sdist in place of the wheel and run its own tests where it is unpacked."""
    with tarfile.open(sdist) as archive:
        archive.extractall(at, filter="data")
    run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "phi4mm", at=at)
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", sdist, at=at)
    run(python, "-m", "pytest", "-q", *tests, at=at / sdist.name.removesuffix(".tar.gz"))


def main() -> int:
    """Build, install, try."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="all tests of the sdist, not only the fast ones")
    tests = [] if parser.parse_args().all else ["@tests/fast.txt"]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name in ("dist", "wheel", "sdist"):
            (work / name).mkdir()
        run(sys.executable, "-m", "build", "--outdir", work / "dist", at=ROOT)
        run(sys.executable, "-m", "venv", work / "env", at=ROOT)
        python = work / "env" / "bin" / "python"
        try:
            try_wheel(python, next((work / "dist").glob("*.whl")), work / "wheel")
            try_sdist(python, next((work / "dist").glob("*.tar.gz")), work / "sdist", *tests)
        except subprocess.CalledProcessError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
