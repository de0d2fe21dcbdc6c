"""The report of `phi4mm doctor`."""

from __future__ import annotations

import json

import pytest

from phi4mm import machine
from phi4mm.diagnostics import hardware
from phi4mm.machine import Memory


def test_cpu_features_are_those_that_decide_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """AMX decides whether bfloat16 is fast on a CPU; "avx2" must not match "avx2_other"."""
    monkeypatch.setattr(machine, "cpu_name", lambda: "Fast")
    monkeypatch.setattr(machine, "cpu_flags", lambda: ("fpu", "avx2_other", "amx_bf16", "avx512f"))
    assert hardware.cpu()["name"] == "Fast"
    assert hardware.cpu()["features"] == ["avx512f", "amx_bf16"]
    monkeypatch.setattr(machine, "cpu_flags", lambda: ())
    assert hardware.cpu()["features"] == []


def test_cores_are_those_that_a_container_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report of 64 cores would be misleading with a quota of two."""
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)
    assert hardware.cpu()["cores"] == 2


def test_memory_is_the_memory_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of the KV cache is chosen from the same figures."""
    monkeypatch.setattr(machine, "memory", lambda: Memory(5, 9))
    assert hardware.memory() == {"free": 5, "total": 9}


def test_the_report_can_be_written_as_json() -> None:
    """A server's health page and `doctor --json` print it as it is."""
    report = hardware.describe()
    assert json.loads(json.dumps(report)).keys() == report.keys()
