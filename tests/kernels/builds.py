"""The tests of the native kernels, on kernels that were compiled in other ways than for this machine.

    python -m tests.kernels.builds [generic] [sanitized]

`generic` is what any processor of this kind runs: the alternatives to `#ifdef __AVX2__`. `sanitized` ends the process
at undefined behaviour and says where. Exit status 1 where a test fails or the kernels cannot be built so.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILDS = {
    "generic": "-mcpu=generic" if platform.machine() in ("aarch64", "arm64") else "-march=x86-64",
    # Quantized weights are mapped from files as they lie there, so loads are not aligned; our processors allow that.
    "sanitized": "-fsanitize=undefined -fno-sanitize=alignment -fno-sanitize-recover=undefined",
}
TESTS = ("tests/kernels", "tests/engine/executors")
# Without a library all these tests would be skipped.
BUILT = "from phi4mm.kernels.cpu.library import status; s = status(); raise SystemExit(None if s.library else s.reason)"


def passes(build: str) -> bool:
    """Compile the kernels as `build` says and run their tests."""
    environment = os.environ | {"PHI4MM_CFLAGS": BUILDS[build]}
    # The sanitizer writes to the file descriptor of stderr, which pytest must therefore leave alone.
    run = ("-m", "pytest", "-q", "--capture=sys", *TESTS)
    print(f"{build}: {BUILDS[build]}", flush=True)
    return all(
        subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, check=False).returncode == 0
        for arguments in (("-c", BUILT), run)
    )


def main() -> int:
    """Run the builds that are named, all by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("builds", nargs="*", metavar="BUILD", help=f"some of {', '.join(BUILDS)}; all by default")
    chosen = parser.parse_args().builds or list(BUILDS)
    return 0 if all(passes(build) for build in chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
