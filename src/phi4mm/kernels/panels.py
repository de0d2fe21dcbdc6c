"""Products with a weight that is upcast or unpacked some outputs at a time: for many rows, in memory that stays small.

O outputs, I inputs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from phi4mm.kernels.packed_weight import TILE, PackedWeight

PANEL = 2048  # outputs upcast or unpacked at a time: 24 MB at width 3072

Unpack = Callable[[PackedWeight, int, int, torch.dtype], Tensor]


def float32_linear(x: Tensor, weight: Tensor) -> Tensor:
    """x (..., I) @ weight (O, I).T in float32, rounded once to x's dtype; upcasts PANEL outputs at a time."""
    x32 = x.float()
    return _joined([F.linear(x32, panel.float()).to(x.dtype) for panel in weight.split(PANEL)])


def packed_linear(x: Tensor, weight: PackedWeight, dtype: torch.dtype, unpack: Unpack) -> Tensor:
    """The same with a packed weight, computed in `dtype`; unpack(weight, first tile, past the last, dtype)."""
    computed = x.to(dtype)
    found = []
    for first in range(0, len(weight.codes), PANEL // TILE):
        panel = unpack(weight, first, min(first + PANEL // TILE, len(weight.codes)), dtype)
        found.append(F.linear(computed, panel[: weight.outputs - first * TILE]).to(x.dtype))
    return _joined(found)


def _joined(panels: list[Tensor]) -> Tensor:
    return panels[0] if len(panels) == 1 else torch.cat(panels, dim=-1)
