"""Facts of the machine that this process runs on: its processor, and the cores and memory that it may use.

On Linux they are read from /proc and /sys, and the limits of a container count; elsewhere they come from Python. The
file imports only the standard library, so that another program's Python can run it by its path. `root` is the folder
that contains proc and sys; tests pass another one.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/")
KIB = 1024


class Memory(NamedTuple):
    """Bytes of main memory: `free` can be allocated now without swapping, `total` is all of it."""

    free: int
    total: int


def cpu_name(root: Path = ROOT) -> str:
    """The processor's name, or its architecture if the system does not report a name."""
    return _facts(root / "proc/cpuinfo").get("model name") or platform.processor() or platform.machine()


def code_commit() -> str:
    """The commit of the running code, with the suffix -dirty if files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        result = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown: git is not installed"
    return result.stdout.strip() or "unknown: no commit"


def cpu_flags(root: Path = ROOT) -> tuple[str, ...]:
    """Names of the first core's instruction sets as Linux writes them; empty on other systems."""
    facts = _facts(root / "proc/cpuinfo")
    return tuple((facts.get("flags") or facts.get("features") or "").split())


def usable_cores(root: Path = ROOT) -> int:
    """Cores that this process may use: those it may run on, at most its CPU quota rounded down, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    return cores if quota is None else max(1, min(cores, int(quota)))


def cpu_quota(root: Path = ROOT) -> float | None:
    """CPU seconds a second that this process may use, by the strictest control group; None without a quota."""
    limits = [_read(group / "cpu.max").split() for group in _groups(root, "")]
    limits += [
        [*_read(group / "cpu.cfs_quota_us").split(), *_read(group / "cpu.cfs_period_us").split()]
        for group in _groups(root, "cpu")
    ]
    numbers = ([_number(word) for word in words] for words in limits if len(words) == 2)
    return min((quota / period for quota, period in numbers if quota is not None and period), default=None)


def memory(root: Path = ROOT) -> Memory:
    """Main memory within a container's limit. If the system does not report free memory, all of it counts as free."""
    facts = _facts(root / "proc/meminfo")
    total = _bytes(facts, "memtotal") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = _bytes(facts, "memavailable") or total
    parts = [_part(group, "memory.max", "memory.current", "inactive_file") for group in _groups(root, "")]
    parts += [
        _part(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        for group in _groups(root, "memory")
    ]
    candidates = [Memory(free, total), *(part for part in parts if part is not None)]
    return Memory(min(part.free for part in candidates), min(part.total for part in candidates))


def resident_bytes(pid: int | None = None, root: Path = ROOT) -> int | None:
    """Bytes of memory that a process (by default this one) uses now; None if the system does not report it."""
    return _bytes(_status(pid, root), "vmrss")


def peak_resident_bytes(pid: int | None = None, root: Path = ROOT) -> int | None:
    """The most memory that a process (by default this one) has used; None if the system does not report it."""
    return _bytes(_status(pid, root), "vmhwm")


def _status(pid: int | None, root: Path) -> dict[str, str]:
    return _facts(root / "proc" / ("self" if pid is None else str(pid)) / "status")


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's control group and of its parent groups, whose limits hold too.

    controller  "cpu" or "memory" in version 1 of control groups; "" in version 2, which has one tree for all
    """
    top = root / "sys/fs/cgroup" / controller
    yield top  # the root of all groups or, inside a container, its own
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controller in controllers.split(",") and path.startswith("/") and "\0" not in path:
            own = top / path.strip("/")
            yield from (folder for folder in (own, *own.parents) if top in folder.parents)


def _part(group: Path, limit: str, used: str, cached: str) -> Memory | None:
    """The memory that one control group allows. The system frees cached files on demand, so they count as free."""
    total = _number(_read(group / limit))
    if total is None:
        return None
    stat = dict(words for line in _read(group / "memory.stat").splitlines() if len(words := line.split()) == 2)
    used_bytes = (_number(_read(group / used)) or 0) - (_number(stat.get(cached, "")) or 0)
    return Memory(max(0, total - used_bytes), total)


def _bytes(facts: dict[str, str], name: str) -> int | None:
    """A fact such as `1234 kB` in bytes."""
    number = _number(facts.get(name, "").partition(" ")[0])
    return None if number is None else number * KIB


def _number(text: str) -> int | None:
    """A whole number; None for `max`, an empty text, or anything else."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None


def _facts(path: Path) -> dict[str, str]:
    """The `name: value` lines of a file's first paragraph, names in lower case."""
    pairs = (line.partition(":") for line in _read(path).partition("\n\n")[0].splitlines())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _read(path: Path) -> str:
    """The text of a file; empty if it is missing or cannot be read, as on some systems and in some sandboxes."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):  # ValueError: a path with a NUL
        return ""
