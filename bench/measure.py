"""What the benchmarks share: the record of hardware and versions, and running a script in a new process."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from typing import Any

import torch

from phi4mm.machine import cpu_name

GB = 1e9


def provenance() -> dict[str, Any]:
    """Hardware, versions, commit and time of a result."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "cpu": cpu_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit.stdout.strip(),
        "time": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
    }


def child(script: str, *arguments: str) -> dict[str, Any]:
    """Run a script in a new process and return the JSON of its last line."""
    done = subprocess.run([sys.executable, script, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return record
