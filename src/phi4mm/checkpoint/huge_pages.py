"""Memory for weights that every step reads: in large pages, where the system has them.

With pages of 4 KiB a step over 2 GB misses the table of addresses half a million times: a fifth of
its time (docs/log.md).
"""

from __future__ import annotations

import contextlib
import math
import mmap
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

WORTH_IT = 4 << 20  # bytes; a large page has 2 MiB


def empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """An uninitialised CPU tensor; a large one asks for large pages, which take memory as they are written."""
    size = math.prod(shape) * dtype.itemsize
    if size < WORTH_IT or sys.platform != "linux":
        return torch.empty(tuple(shape), dtype=dtype)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel built without large pages: small ones do
        pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=dtype).view(tuple(shape))
