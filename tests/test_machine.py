from __future__ import annotations

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

Place = Callable[[dict[str, str]], Path]
MEMINFO = "MemTotal:       64000 kB\nMemFree:          9000 kB\nMemAvailable:   50000 kB\n"
STATUS = "Name:\tpython\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Makes a root folder that holds these files."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


@pytest.fixture
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def test_the_processor_is_described_by_its_first_core(place: Place) -> None:
    """A server lists its name and flags once a core, a hundred times over."""
    core = "processor\t: {}\nmodel name\t: Fast {}\nflags\t\t: fpu avx2_other amx_bf16\n\n"
    root = place({"proc/cpuinfo": core.format(0, "A") + core.format(1, "B")})
    assert machine.cpu_name(root) == "Fast A"
    assert machine.cpu_flags(root) == ("fpu", "avx2_other", "amx_bf16")


def test_an_arm_processor_has_features_and_no_name(place: Place) -> None:
    """Without its instruction sets, a compiled kernel of another ARM machine would be loaded from a shared home."""
    root = place({"proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd sve i8mm\n"})
    assert machine.cpu_flags(root) == ("fp", "asimd", "sve", "i8mm")
    assert machine.cpu_name(root) == (platform.processor() or platform.machine())


def test_where_there_is_no_proc_python_s_own_facts_count(tmp_path: Path) -> None:
    """macOS has neither /proc nor /sys; doctor and load must not end in a traceback there."""
    assert machine.cpu_name(tmp_path) == (platform.processor() or platform.machine())
    assert machine.cpu_flags(tmp_path) == ()
    assert machine.cpu_quota(tmp_path) is None
    assert machine.usable_cores(tmp_path) >= 1
    free, total = machine.memory(tmp_path)
    assert free == total == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert machine.resident_bytes(root=tmp_path) is None
    assert machine.peak_resident_bytes(root=tmp_path) is None


def test_a_folder_where_a_file_is_expected_is_as_good_as_nothing(tmp_path: Path) -> None:
    """Sandboxes put folders or unreadable files in the place of what they hide."""
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
def test_a_quota_counts_as_the_cores_it_pays_for(
    place: Place, files: dict[str, str], quota: float | None, cores: int
) -> None:
    """More threads than a quota pays for are stopped in the middle of a step, and all others wait for them."""
    root = place(files)
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
def test_a_container_s_limit_counts_as_the_memory_there_is(
    place: Place, files: dict[str, str], free: int, total: int
) -> None:
    """The host's memory is of no use to a process that is killed at its container's limit; files in the page cache,
    such as weights that were just read, do not count as taken."""
    root = place({"proc/meminfo": MEMINFO} | {f"sys/fs/cgroup/{name}": text for name, text in files.items()})
    assert machine.memory(root) == Memory(free, total)


def test_the_strictest_group_above_a_process_decides(place: Place) -> None:
    """A service is often limited by the slice it runs in and not by a limit of its own."""
    root = place(
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


def test_the_memory_of_any_process_can_be_read(place: Place) -> None:
    """A benchmark watches the server beside it, not itself."""
    root = place({"proc/self/status": STATUS, "proc/77/status": STATUS.replace("1024", "512")})
    assert (machine.resident_bytes(root=root), machine.peak_resident_bytes(root=root)) == (2**20, 2**21)
    assert machine.resident_bytes(77, root) == 2**19
    assert machine.resident_bytes(78, root) is None


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_the_memory_of_this_process_is_what_it_holds() -> None:
    """A wrong unit or field would be a figure like any other."""
    before = machine.resident_bytes()
    block = bytearray(os.urandom(1)) * 2**26
    after, peak = machine.resident_bytes(), machine.peak_resident_bytes()
    assert before is not None
    assert after is not None
    assert peak is not None
    assert 2**25 < after - before < 2**27
    assert peak >= after > len(block)


def test_the_file_runs_by_its_path_without_the_package() -> None:
    """The peers of the benchmarks have environments of their own, without phi4mm and its dependencies."""
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
def test_what_an_odd_system_says_counts_as_not_told(place: Place, name: str, text: str) -> None:
    """Sandboxes make files up; a model that cannot be loaded for one of them helps nobody."""
    root = place({"proc/meminfo": MEMINFO, "sys/fs/cgroup/memory.max": "1000000", name: text})
    assert machine.memory(root).total > 0
    assert machine.cpu_quota(root) is None
    assert machine.usable_cores(root) >= 1
    assert machine.resident_bytes(root=root) is None
    assert machine.cpu_name(root)


def test_a_quota_of_version_1_needs_no_final_newline(place: Place) -> None:
    """Both files joined were one number."""
    at = "sys/fs/cgroup/cpu/cpu.cfs_"
    assert machine.cpu_quota(place({f"{at}quota_us": "150000", f"{at}period_us": "100000"})) == 1.5
