"""An embedding with a packed weight, which is also the weight of the tied head.

T packed tokens, D model width, G groups of a row.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from phi4mm.kernels.packed_weight import GROUP, TILE, PackedWeight

ROWS_AT_ONCE = 1024  # unpacked at a time, to bound float32 memory for a long prompt: 12 MB at width 3072


class PackedEmbedding(nn.Module):
    """nn.Embedding with a packed weight. Only the rows of the given ids are unpacked, to `dtype`."""

    def __init__(self, weight: PackedWeight, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = weight
        self._dtype = dtype

    def forward(self, ids: Tensor) -> Tensor:
        """ids (T,) int64, each below the number of rows -> (T, D) in `dtype`."""
        return torch.cat([unpack_rows(self.weight, part).to(self._dtype) for part in ids.split(ROWS_AT_ONCE)])


def unpack_rows(packed: PackedWeight, rows: Tensor) -> Tensor:
    """rows (T,) int64 -> those rows of `packed` (T, D) float32. A row is in one tile, 4 or 2 inputs of it at a time."""
    tile, output = rows // TILE, rows % TILE
    tiles, groups = packed.codes.shape[:2]
    if packed.bits == 4:
        nibbles = packed.codes.view(tiles, groups, GROUP // 4, 8, 4)[tile, :, :, output % 8]  # (T, G, step, input)
        codes = torch.where((output < 8).view(-1, 1, 1, 1), nibbles & 15, nibbles >> 4).float() - 8
    else:
        codes = packed.codes.view(torch.int8).view(tiles, groups, GROUP // 2, TILE, 2)[tile, :, :, output].float()
    scales = packed.scales[tile, :, output].float()
    return (codes.reshape(-1, groups, GROUP) * scales.unsqueeze(-1)).flatten(1)[:, : packed.inputs]
