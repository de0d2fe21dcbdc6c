"""bench/fuzz.py finds nothing in a few cases of each reader, and finds what is there to be found."""

from __future__ import annotations

import importlib
import json
import mmap
import os
import re
import subprocess
import sys
import time
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


@pytest.mark.parametrize("name", ["png", "flac", "ogg"])
def test_damage_reaches_the_decoder_behind_right_checksums(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checksum refuses nearly every damaged file, and the code behind it would never be tried."""
    monkeypatch.syspath_prepend(str(BENCH))
    fuzz = importlib.import_module("fuzz")
    reader = fuzz.READERS[name]
    for data in reader.valid():
        wrong = bytearray(data)
        places = [found.start() + 22 for found in re.finditer(b"OggS", data)] if name == "ogg" else [len(data) - 1]
        for place in places:
            wrong[place] ^= 255
        assert bytes(wrong) != data
        assert reader.mend(bytes(wrong)) == reader.mend(data) == data


CASES = """
import hashlib, fuzz
found = [fuzz.case(r, r.valid(), f"{name} 0 {number}") for name, r in fuzz.READERS.items() for number in range(5)]
print(*(hashlib.sha256(data).hexdigest() for data in found))
"""


def test_a_number_gives_the_same_case_in_every_process() -> None:
    """A fault that `--case` does not show again cannot be mended."""
    found = set()
    for seed in "12":
        env = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", CASES]
        found.add(subprocess.run(command, cwd=BENCH, env=env, capture_output=True, text=True, check=True).stdout)
        time.sleep(1)  # libsndfile writes the second into a file of floats
    assert len(found) == 1


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
        mmap.mmap(-1, 100_000_000).write(bytes(100_000_000))  # new memory, not what earlier tests gave back


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
