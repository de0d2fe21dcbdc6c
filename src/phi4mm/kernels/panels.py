"""Matrix products of many rows, with a weight that is upcast or unpacked one panel of outputs at a time to save memory.

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
    """x (..., I) @ weight (O, I).T in float32, rounded once to x's dtype. PANEL outputs are upcast at a time."""
    x32 = x.float()
    return _concatenated([F.linear(x32, panel.float()).to(x.dtype) for panel in weight.split(PANEL)])


def packed_linear(x: Tensor, weight: PackedWeight, dtype: torch.dtype, unpack: Unpack) -> Tensor:
    """The same with a packed weight, computed in `dtype`; unpack(weight, first tile, one after the last, dtype)."""
    x_cast = x.to(dtype)
    parts = []
    for first in range(0, len(weight.codes), PANEL // TILE):
        panel = unpack(weight, first, min(first + PANEL // TILE, len(weight.codes)), dtype)
        parts.append(F.linear(x_cast, panel[: weight.outputs - first * TILE]).to(x.dtype))
    return _concatenated(parts)


def _concatenated(panels: list[Tensor]) -> Tensor:
    return panels[0] if len(panels) == 1 else torch.cat(panels, dim=-1)
