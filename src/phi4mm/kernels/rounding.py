"""Pack a weight: 8 bits take the scales of the largest magnitudes, 4 bits search for the scales of least error.

O outputs, I inputs, G groups of 64 inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from phi4mm.kernels.packed_weight import (
    BYTES,
    GROUP,
    TILE,
    Bits,
    PackedWeight,
    group_scales,
    grouped,
    pack,
    round_to_codes,
)

# Factors of the scale of the largest magnitude. Below 1, that weight is clipped and the other 63 get finer steps.
CANDIDATES = (0.82, 0.9, 0.97, 1.05)
OUTPUTS_AT_ONCE = 16 * TILE  # packed at a time, so that their float32 copies fit in a core's cache


def is_worth_packing(weight: Tensor) -> bool:
    """Whether `weight` (O, I) fills at least half a group; below that, padding costs more than the codes save."""
    return weight.shape[1] >= GROUP // 2


def pack_weight(weight: Tensor, bits: Bits) -> PackedWeight:
    """Pack `weight` (O, I) on its device, some outputs at a time to save memory.

    8 bits take the scale of each group's largest magnitude, 4 bits the scale of least error.
    """
    result = empty_weight(weight, bits, device=weight.device)
    for start in range(0, weight.shape[0], OUTPUTS_AT_ONCE):
        rows = weight[start : start + OUTPUTS_AT_ONCE]
        part = pack(rows, bits, least_error_scales(grouped(rows)) if bits == 4 else None)
        tiles = slice(start // TILE, start // TILE + len(part.codes))
        result.codes[tiles], result.scales[tiles] = part.codes, part.scales
    return result


def empty_weight(weight: Tensor, bits: Bits, *, device: str | torch.device) -> PackedWeight:
    """An uninitialised packed weight of the size of `weight` (O, I)."""
    outputs, inputs = weight.shape
    tiles, groups = -(-outputs // TILE), -(-inputs // GROUP)
    codes = torch.empty(tiles, groups, BYTES[bits], dtype=torch.uint8, device=device)
    scales = torch.empty(tiles, groups, TILE, dtype=torch.bfloat16, device=device)
    return PackedWeight(codes, scales, bits=bits, outputs=outputs, inputs=inputs)


def least_error_scales(groups: Tensor) -> Tensor:
    """(O, G, 64) float32 -> (O, G) bfloat16: for each group, the candidate with the smallest squared error.

    Candidates are fitted to their codes by least squares. The scale of `group_scales` is one, so no group gets worse.
    """
    largest = group_scales(groups, 4)
    best, least = largest, _squared_error(groups, largest)
    for candidate in CANDIDATES:
        codes = round_to_codes(groups, (largest.float() * candidate).bfloat16(), 4).float()
        fitted = (groups * codes).sum(-1) / codes.square().sum(-1).clamp(min=1)
        scales = fitted.bfloat16()
        error = _squared_error(groups, scales)
        best, least = torch.where(error < least, scales, best), torch.minimum(error, least)
    return best


def _squared_error(groups: Tensor, scales: Tensor) -> Tensor:
    """(O, G) float32 error of rounding `groups` (O, G, 64) with `scales` (O, G)."""
    codes = round_to_codes(groups, scales, 4)
    return (codes * scales.float().unsqueeze(-1) - groups).square().sum(-1)
