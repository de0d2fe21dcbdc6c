"""Memory in large pages is memory as any other."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch

from phi4mm.checkpoint import huge_pages


@pytest.mark.parametrize("elements", [8, (8 << 20) // 2])
def test_a_tensor_keeps_its_memory_as_long_as_it_lives(elements: int) -> None:
    """Small and large: the mapping must not go before its last view."""
    tensor = huge_pages.empty((elements // 4, 4), torch.bfloat16)
    tensor.fill_(3)
    view = tensor[-1]
    del tensor
    gc.collect()
    assert view.tolist() == [3, 3, 3, 3]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_memory_goes_back_with_the_last_tensor() -> None:
    """A model that is loaded anew would else take its memory twice."""

    def resident() -> int:
        return 1024 * int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])

    before = resident()
    tensor = huge_pages.empty((64 << 20,), torch.uint8)
    tensor.fill_(1)
    assert resident() - before > 60 << 20
    del tensor
    gc.collect()
    assert resident() - before < 8 << 20
