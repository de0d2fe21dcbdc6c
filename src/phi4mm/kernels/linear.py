"""Matrix product with a weight: the reference, and a fast twin for CPUs without 16-bit matrix units.

Such a CPU multiplies bf16 and fp16 matrices five times slower than float32 ones (docs/log.md). For many rows it pays to
widen the weight, a panel at a time, and let the float32 product round once at the end.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

FEW_ROWS = 8  # below this the product is bound by reading the weight, and 16-bit reads half as much
PANEL = 2048  # output features widened at a time: 24 MB at width 3072


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (..., in) @ weight (out, in).T + bias (out,) -> (..., out), in x's dtype."""
    if x.dtype == torch.float32 or x.device.type != "cpu" or x.numel() < FEW_ROWS * x.shape[-1] or _has_16_bit_units():
        return F.linear(x, weight, bias)
    return widened(x, weight, bias)


def widened(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The same product in float32, rounded once to x's dtype; holds PANEL rows of the weight in float32 at a time."""
    x32 = x.float()
    panels = [
        F.linear(x32, weight[n : n + PANEL].float(), None if bias is None else bias[n : n + PANEL].float()).to(x.dtype)
        for n in range(0, weight.shape[0], PANEL)
    ]
    return panels[0] if len(panels) == 1 else torch.cat(panels, dim=-1)


@functools.cache
def _has_16_bit_units() -> bool:
    """Whether this CPU multiplies 16-bit matrices in hardware (AVX-512 BF16 or AMX)."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


class Linear(torch.nn.Linear):
    """torch.nn.Linear over `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        return linear(x, self.weight, self.bias)
