"""Tensors in huge pages keep and free their memory like others."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch

from phi4mm.checkpoint import huge_pages


@pytest.mark.parametrize("elements", [8, (8 << 20) // 2])
def test_a_tensor_keeps_its_memory_as_long_as_it_lives(elements: int) -> None:
    """The memory map must stay until its last view is deleted; small tensors are not in one."""
    tensor = huge_pages.empty((elements // 4, 4), torch.bfloat16)
    tensor.fill_(3)
    view = tensor[-1]
    del tensor
    gc.collect()
    assert view.tolist() == [3, 3, 3, 3]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_memory_is_freed_with_the_last_tensor() -> None:
    """Otherwise a model that is loaded again would take its memory twice."""

    def resident() -> int:
        return 1024 * int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])

    before = resident()
    tensor = huge_pages.empty((64 << 20,), torch.uint8)
    tensor.fill_(1)
    assert resident() - before > 60 << 20
    del tensor
    gc.collect()
    assert resident() - before < 8 << 20
