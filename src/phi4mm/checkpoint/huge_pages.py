"""Memory in huge pages, where the system has them, for weights that every step reads.

With pages of 4 KiB, a step that reads 2 GB has half a million TLB misses, which take a fifth of its time (docs/log.md).
"""

from __future__ import annotations

import contextlib
import math
import mmap
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

MIN_BYTES = 4 << 20  # a huge page has 2 MiB


def empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """An uninitialised CPU tensor. From 4 MiB on it asks for huge pages, which take memory when they are written to."""
    size = math.prod(shape) * dtype.itemsize
    if size < MIN_BYTES or sys.platform != "linux":
        return torch.empty(tuple(shape), dtype=dtype)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel built without huge pages
        pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=dtype).view(tuple(shape))
