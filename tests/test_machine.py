from __future__ import annotations

import mmap
import os
import platform
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from phi4mm import machine
from phi4mm.machine import Memory

MakeRoot = Callable[[dict[str, str]], Path]
MEMINFO = "MemTotal:       64000 kB\nMemFree:          9000 kB\nMemAvailable:   50000 kB\n"
STATUS = "Name:\tpython\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n"


@pytest.fixture
def make_root(tmp_path: Path) -> MakeRoot:
    """Writes files below a temporary root folder and returns the folder."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


@pytest.fixture
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def test_the_processor_is_described_by_its_first_core(make_root: MakeRoot) -> None:
    """A server lists name and flags once for each of its cores, which may be hundreds."""
    core = "processor\t: {}\nmodel name\t: Fast {}\nflags\t\t: fpu avx2_other amx_bf16\n\n"
    root = make_root({"proc/cpuinfo": core.format(0, "A") + core.format(1, "B")})
    assert machine.cpu_name(root) == "Fast A"
    assert machine.cpu_flags(root) == ("fpu", "avx2_other", "amx_bf16")


def test_an_arm_processor_has_features_and_no_name(make_root: MakeRoot) -> None:
    """Without its instruction sets, kernels compiled on another ARM machine would be loaded from a shared home."""
    root = make_root({"proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd sve i8mm\n"})
    assert machine.cpu_flags(root) == ("fp", "asimd", "sve", "i8mm")
    assert machine.cpu_name(root) == (platform.processor() or platform.machine())


def test_without_proc_the_facts_come_from_python(tmp_path: Path) -> None:
    """macOS has neither /proc nor /sys; doctor and load must not end in a traceback there."""
    assert machine.cpu_name(tmp_path) == (platform.processor() or platform.machine())
    assert machine.cpu_flags(tmp_path) == ()
    assert machine.cpu_quota(tmp_path) is None
    assert machine.usable_cores(tmp_path) >= 1
    free, total = machine.memory(tmp_path)
    assert free == total == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert machine.resident_bytes(root=tmp_path) is None
    assert machine.peak_resident_bytes(root=tmp_path) is None


def test_a_folder_in_place_of_a_file_counts_as_missing(tmp_path: Path) -> None:
    """Sandboxes replace files that they hide by folders or unreadable files."""
    (tmp_path / "proc/cpuinfo").mkdir(parents=True)
    assert machine.cpu_flags(tmp_path) == ()


@pytest.mark.usefixtures("_eight_cores")
@pytest.mark.parametrize(
    ("files", "quota", "cores"),
    [
        ({}, None, 8),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, None, 8),
        ({"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2.0, 2),
        ({"sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2.5, 2),
        ({"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5, 1),
        ({"sys/fs/cgroup/cpu.max": "1600000 100000\n"}, 16.0, 8),
        (
            {
                "proc/self/cgroup": "0::/a.slice/b.scope\n",
                "sys/fs/cgroup/a.slice/cpu.max": "300000 100000\n",
                "sys/fs/cgroup/a.slice/b.scope/cpu.max": "max 100000\n",
                "sys/fs/cgroup/other/cpu.max": "100000 100000\n",
            },
            3.0,
            3,
        ),
        (
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
            4.0,
            4,
        ),
        (
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
            None,
            8,
        ),
        (
            {
                "proc/self/cgroup": "5:memory:/other\n4:cpu,cpuacct:/docker/a1\n1:name=systemd:/docker/a1\n",
                "sys/fs/cgroup/cpu/docker/a1/cpu.cfs_quota_us": "150000\n",
                "sys/fs/cgroup/cpu/docker/a1/cpu.cfs_period_us": "50000\n",
            },
            3.0,
            3,
        ),
    ],
)
def test_a_cpu_quota_limits_the_usable_cores(
    make_root: MakeRoot, files: dict[str, str], quota: float | None, cores: int
) -> None:
    """With more threads than the quota allows, some are stopped within a step and the others wait for them."""
    root = make_root(files)
    assert machine.cpu_quota(root) == quota
    assert machine.usable_cores(root) == cores


@pytest.mark.parametrize(
    ("files", "free", "total"),
    [
        ({}, 50_000 * 1024, 64_000 * 1024),
        ({"memory.max": "max\n", "memory.current": "240000\n"}, 50_000 * 1024, 64_000 * 1024),
        ({"memory.max": "10240000\n", "memory.current": "240000\n"}, 10_000_000, 10_240_000),
        ({"memory.max": "10240000\n", "memory.current": "20000000\n"}, 0, 10_240_000),
        (
            {
                "memory.max": "10240000\n",
                "memory.current": "9240000\n",
                "memory.stat": "anon 7\ninactive_file 5000000\n",
            },
            6_000_000,
            10_240_000,
        ),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 50_000 * 1024, 64_000 * 1024),
        (
            {
                "memory/memory.limit_in_bytes": "8000000\n",
                "memory/memory.usage_in_bytes": "3000000\n",
                "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 1000000\n",
            },
            6_000_000,
            8_000_000,
        ),
    ],
)
def test_a_container_s_limit_bounds_the_memory(
    make_root: MakeRoot, files: dict[str, str], free: int, total: int
) -> None:
    """A process is killed at its container's limit, however much memory the host has. Files in the page cache, such as
    weights that were just read, count as free."""
    root = make_root({"proc/meminfo": MEMINFO} | {f"sys/fs/cgroup/{name}": text for name, text in files.items()})
    assert machine.memory(root) == Memory(free, total)


def test_the_strictest_parent_group_decides(make_root: MakeRoot) -> None:
    """A service often has no limit of its own, but runs in a slice with a limit."""
    root = make_root(
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "0::/a.slice/b.service\n",
            "sys/fs/cgroup/a.slice/memory.max": "9000000",
            "sys/fs/cgroup/a.slice/memory.current": "8000000",
            "sys/fs/cgroup/a.slice/b.service/memory.max": "4000000",
            "sys/fs/cgroup/a.slice/b.service/memory.current": "1000000",
        }
    )
    assert machine.memory(root) == Memory(1_000_000, 4_000_000)


def test_the_memory_of_any_process_can_be_read(make_root: MakeRoot) -> None:
    """A benchmark measures the memory of a server, not its own."""
    root = make_root({"proc/self/status": STATUS, "proc/77/status": STATUS.replace("1024", "512")})
    assert (machine.resident_bytes(root=root), machine.peak_resident_bytes(root=root)) == (2**20, 2**21)
    assert machine.resident_bytes(77, root) == 2**19
    assert machine.resident_bytes(78, root) is None


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_the_memory_of_this_process_is_right() -> None:
    """A wrong unit or field would still give a number."""
    before = machine.resident_bytes()
    block = mmap.mmap(-1, 2**26)  # new memory; a large list may come from what an earlier test gave back
    block.write(bytes(2**26))
    after, peak = machine.resident_bytes(), machine.peak_resident_bytes()
    assert before is not None
    assert after is not None
    assert peak is not None
    assert 2**25 < after - before < 2**27
    assert peak >= after > len(block)


def test_the_file_runs_by_its_path_without_the_package() -> None:
    """Other programs in the benchmarks have their own environments, without phi4mm and its dependencies."""
    assert runpy.run_path(str(machine.__file__))["usable_cores"]() == machine.usable_cores()
    program = f"import runpy; print(runpy.run_path({str(machine.__file__)!r})['usable_cores']())"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) == machine.usable_cores()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("proc/self/cgroup", "odd"),
        ("proc/self/cgroup", "0::/a\0b"),
        ("sys/fs/cgroup/cpu.max", "100 0"),
        ("sys/fs/cgroup/cpu.max", "100"),
        ("sys/fs/cgroup/cpu.max", "1 2 3"),
        ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "5000"),
        ("sys/fs/cgroup/memory.max", "9" * 40),
        ("sys/fs/cgroup/memory.stat", "inactive_file 1 2\nword"),
        ("sys/fs/cgroup/memory.current", "max"),
        ("proc/meminfo", "MemTotal:\nMemAvailable: lots kB\n"),
        ("proc/self/status", "VmRSS:\n"),
        ("proc/cpuinfo", "model name"),
    ],
)
def test_unexpected_file_contents_count_as_missing(make_root: MakeRoot, name: str, text: str) -> None:
    """Sandboxes invent such files; a model must load nevertheless."""
    root = make_root({"proc/meminfo": MEMINFO, "sys/fs/cgroup/memory.max": "1000000", name: text})
    assert machine.memory(root).total > 0
    assert machine.cpu_quota(root) is None
    assert machine.usable_cores(root) >= 1
    assert machine.resident_bytes(root=root) is None
    assert machine.cpu_name(root)


def test_a_quota_of_cgroup_version_1_needs_no_final_newline(make_root: MakeRoot) -> None:
    """Without newlines, the texts of both files were joined to one number."""
    at = "sys/fs/cgroup/cpu/cpu.cfs_"
    assert machine.cpu_quota(make_root({f"{at}quota_us": "150000", f"{at}period_us": "100000"})) == 1.5
