"""Facts of the machine that this process runs on: its processor, the cores and the memory that may be used.

They come from /proc and /sys where there are any (Linux), within the limits of a container, else from Python. Nothing
but the standard library is needed, so that another program's Python can run this file by its path. `root` is the folder
that holds proc and sys; tests give another one.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/")
KIB = 1024


class Memory(NamedTuple):
    """Bytes of main memory: `free` could be taken now without swapping, `total` is all there is."""

    free: int
    total: int


def cpu_name(root: Path = ROOT) -> str:
    """The processor's name, or its architecture where the system tells no name."""
    return _facts(root / "proc/cpuinfo").get("model name") or platform.processor() or platform.machine()


def cpu_flags(root: Path = ROOT) -> tuple[str, ...]:
    """Names of the first core's instruction sets, as Linux spells them; empty elsewhere."""
    facts = _facts(root / "proc/cpuinfo")
    return tuple((facts.get("flags") or facts.get("features") or "").split())


def usable_cores(root: Path = ROOT) -> int:
    """Cores that this process may keep busy: those it may run on, and no more whole ones than its quota pays for."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    return cores if quota is None else max(1, min(cores, int(quota)))


def cpu_quota(root: Path = ROOT) -> float | None:
    """Seconds of computing a second that this process may take, by the strictest control group; None without one."""
    stated = [_read(group / "cpu.max").split() for group in _groups(root, "")]
    stated += [
        [*_read(group / "cpu.cfs_quota_us").split(), *_read(group / "cpu.cfs_period_us").split()]
        for group in _groups(root, "cpu")
    ]
    numbers = ([_number(word) for word in words] for words in stated if len(words) == 2)
    return min((quota / period for quota, period in numbers if quota is not None and period), default=None)


def memory(root: Path = ROOT) -> Memory:
    """Main memory, or a container's part of it. Where the system does not tell what is free, all of it counts."""
    facts = _facts(root / "proc/meminfo")
    total = _bytes(facts, "memtotal") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = _bytes(facts, "memavailable") or total
    parts = [_part(group, "memory.max", "memory.current", "inactive_file") for group in _groups(root, "")]
    parts += [
        _part(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        for group in _groups(root, "memory")
    ]
    known = [Memory(free, total), *(part for part in parts if part is not None)]
    return Memory(min(part.free for part in known), min(part.total for part in known))


def resident_bytes(pid: int | None = None, root: Path = ROOT) -> int | None:
    """Memory that a process (by default this one) holds now; None where the system does not tell."""
    return _bytes(_status(pid, root), "vmrss")


def peak_resident_bytes(pid: int | None = None, root: Path = ROOT) -> int | None:
    """The most that a process (by default this one) has held; None where the system does not tell."""
    return _bytes(_status(pid, root), "vmhwm")


def _status(pid: int | None, root: Path) -> dict[str, str]:
    return _facts(root / "proc" / ("self" if pid is None else str(pid)) / "status")


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's control group and of those above it, which bind it too.

    controller  "cpu" or "memory" in version 1 of control groups; "" in version 2, where one tree serves all
    """
    top = root / "sys/fs/cgroup" / controller
    yield top  # the root of all groups or, inside a container, its own
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controller in controllers.split(",") and path.startswith("/") and "\0" not in path:
            own = top / path.strip("/")
            yield from (folder for folder in (own, *own.parents) if top in folder.parents)


def _part(group: Path, limit: str, used: str, cached: str) -> Memory | None:
    """What one control group allows; files that are only cached are given back on demand and count as free."""
    most = _number(_read(group / limit))
    if most is None:
        return None
    stat = dict(words for line in _read(group / "memory.stat").splitlines() if len(words := line.split()) == 2)
    held = (_number(_read(group / used)) or 0) - (_number(stat.get(cached, "")) or 0)
    return Memory(max(0, most - held), most)


def _bytes(facts: dict[str, str], name: str) -> int | None:
    """A fact such as `1234 kB` in bytes."""
    number = _number(facts.get(name, "").partition(" ")[0])
    return None if number is None else number * KIB


def _number(text: str) -> int | None:
    """A whole number; None for `max`, nothing, or what an odd system may say instead."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None


def _facts(path: Path) -> dict[str, str]:
    """The `name: value` lines of a file's first paragraph, names in small letters."""
    pairs = (line.partition(":") for line in _read(path).partition("\n\n")[0].splitlines())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _read(path: Path) -> str:
    """The text of a file that only some systems have, and some sandboxes hide; empty without it."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):  # ValueError: a path with a NUL
        return ""
