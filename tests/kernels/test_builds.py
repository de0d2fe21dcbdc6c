"""PHI4MM_CFLAGS chooses another build of the kernels, and the sanitized build ends at undefined behaviour."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from phi4mm.kernels.cpu import library as native
from tests.kernels.builds import BUILDS

pytestmark = pytest.mark.skipif(native.library() is None, reason=native.status().reason)
OVERFLOW = "int overflow(int x) { return x + 2147483647; }"
CALL = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).overflow(int(sys.argv[2])))"


@pytest.fixture
def overflowing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels' source is one function that overflows where its argument is above 0."""
    (tmp_path / "overflow.c").write_text(OVERFLOW)
    monkeypatch.setattr(native, "SOURCES", [tmp_path / "overflow.c"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def called(argument: int) -> subprocess.CompletedProcess[str]:
    """overflow(argument) in a process of its own, from a library that was compiled now."""
    command = [sys.executable, "-c", CALL, str(native._build()), str(argument)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("overflowing")
def test_the_sanitized_build_ends_at_undefined_behaviour(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sanitizer that is not linked, or only reports, would let every fault pass."""
    monkeypatch.setenv("PHI4MM_CFLAGS", BUILDS["sanitized"])
    assert called(0).stdout.strip() == "2147483647"
    ended = called(1)
    assert (ended.returncode != 0, ended.stdout) == (True, "")
    assert "overflow.c:1" in ended.stderr
    assert "signed integer overflow" in ended.stderr


@pytest.mark.usefixtures("overflowing")
def test_each_set_of_flags_is_a_library_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept under one name, the build that was made first would be tested under every other's name."""
    monkeypatch.delenv("PHI4MM_CFLAGS", raising=False)
    paths = {native._build()}
    for flags in BUILDS.values():
        monkeypatch.setenv("PHI4MM_CFLAGS", flags)
        paths.add(native._build())
    assert len(paths) == 1 + len(BUILDS)
    assert called(0).returncode == 0


@pytest.mark.usefixtures("overflowing")
def test_a_flag_that_the_compiler_refuses_is_a_reason_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt flag must turn the kernels off with the compiler's words."""
    monkeypatch.delenv("PHI4MM_NATIVE", raising=False)
    monkeypatch.setenv("PHI4MM_CFLAGS", "-fno-such-flag")
    status = native._status.__wrapped__()
    assert status.library is None
    assert "-fno-such-flag" in status.reason
