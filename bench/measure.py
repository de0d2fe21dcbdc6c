"""What every benchmark reports beside its figures, and how memory is read (Linux)."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

GB = 1e9


def status_bytes(field: str) -> int:
    """A field of /proc/self/status in bytes: VmHWM is the peak of resident memory, VmRSS the present one."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def provenance() -> dict[str, Any]:
    """Hardware, versions, commit and time of a result."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    return {
        "cpu": cpu.partition(":")[2].strip(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit.stdout.strip(),
        "time": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
    }


def child(script: str, *arguments: str) -> dict[str, Any]:
    """Run this script's own measurement in a fresh process and return the JSON of its last line."""
    done = subprocess.run([sys.executable, script, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return record
