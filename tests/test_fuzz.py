"""bench/fuzz.py finds nothing in a few cases of each reader, and finds what is there to be found."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parent.parent / "bench"


def test_damaged_files_end_in_a_result_or_a_phi_error() -> None:
    """The ten thousand cases of `make prove`, begun."""
    command = [sys.executable, str(BENCH / "fuzz.py"), "--cases", "60"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout.splitlines()[-1])
    assert all(found["read"] + found["refused"] == 60 for found in record["readers"].values())


def crashes(data: bytes, folder: Path) -> None:
    if data != b"valid":
        os._exit(3)


def rejected(data: bytes, folder: Path) -> None:
    if data != b"valid":
        raise KeyError("x")


def hung(data: bytes, folder: Path) -> None:
    while data != b"valid":
        pass


def greedy(data: bytes, folder: Path) -> None:
    if data != b"valid":
        bytearray(b"x" * 100_000_000)


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (crashes, "the process ended with 3"),
        (rejected, "KeyError: 'x'"),
        (hung, "the process ended with -14"),
        (greedy, "took more than 50000 KiB"),
    ],
)
def test_each_kind_of_fault_is_told_with_its_case(read: Any, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fuzzer that overlooks a crash, a hang or a hunger for memory proves nothing."""
    monkeypatch.syspath_prepend(str(BENCH))
    fuzz = importlib.import_module("fuzz")
    monkeypatch.setattr(fuzz, "SECONDS", 1)
    monkeypatch.setattr(fuzz, "MOST_GROWTH", 50_000)
    monkeypatch.setitem(fuzz.READERS, "faulty", fuzz.Reader(read, lambda: [b"valid"]))
    wrong = fuzz.fuzz("faulty", 0, 3)["wrong"]
    assert told in wrong[0]
    assert wrong[0].startswith("case ")
    monkeypatch.setitem(fuzz.READERS, "faulty", fuzz.Reader(fuzz.read_image, lambda: [b"valid"]))
    assert "refuses the valid" in fuzz.fuzz("faulty", 0, 3)["wrong"][0]
