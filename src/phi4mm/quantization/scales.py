"""Scales for 4 bits that leave less error than the one which keeps a group's largest magnitude.

O outputs, G groups of 64 inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from phi4mm.kernels.packed_weight import group_scales, round_to_codes

# Of the scale of the largest magnitude: below 1 that magnitude is clipped for the sake of the other 63.
CANDIDATES = (0.82, 0.9, 0.97, 1.05)


def least_error_scales(groups: Tensor) -> Tensor:
    """(O, G, 64) float32 -> (O, G) bfloat16: of some scales, each fitted to its codes by least squares, the best one.

    Never worse than `group_scales`, which is among them.
    """
    widest = group_scales(groups, 4)
    best, least = widest, _squared_error(groups, widest)
    for candidate in CANDIDATES:
        codes = round_to_codes(groups, (widest.float() * candidate).bfloat16(), 4).float()
        fitted = (groups * codes).sum(-1) / codes.square().sum(-1).clamp(min=1)
        scales = fitted.bfloat16()
        error = _squared_error(groups, scales)
        best, least = torch.where(error < least, scales, best), torch.minimum(error, least)
    return best


def _squared_error(groups: Tensor, scales: Tensor) -> Tensor:
    """(O, G) float32 of rounding (O, G, 64) with `scales` (O, G)."""
    codes = round_to_codes(groups, scales, 4)
    return (codes * scales.float().unsqueeze(-1) - groups).square().sum(-1)
