"""bench/processes.py tells when one process of many computed other numbers."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parent.parent / "bench"
RIGHT = {"inputs": "a", "first": "b", "second": "b", "answers": "c"}


@pytest.mark.parametrize(
    "other",
    [
        RIGHT | {"first": "x"},
        RIGHT | {"first": "x", "second": "x"},
        RIGHT | {"inputs": "a x"},
        RIGHT | {"answers": "x"},
        {"failed": "exit status 1: x"},
    ],
)
def test_case_d1_one_other_process_is_told(other: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A proof that overlooks the one process of fifty proves nothing."""
    monkeypatch.syspath_prepend(str(BENCH))
    processes = importlib.import_module("processes")
    assert processes.counted([RIGHT] * 3)["same"]
    found = processes.counted([RIGHT, RIGHT, other])
    assert not found["same"]
    assert found["first_unlike_second"] == (other.get("first") != other.get("second"))
