"""Packed weights: groups of 64 inputs share a scale, and codes are stored in the order in which the kernel reads them.

A tile is 16 outputs. For each tile and group of 64 inputs, 4-bit codes (0..15, which stand for -8..7) are 16 steps of 8
outputs by 4 inputs, outputs 0-7 in the low and 8-15 in the high nibble; 8-bit codes (-127..127) are 32 steps of 16
outputs by 2 inputs. Outputs are padded to whole tiles and inputs to whole groups, with zeros.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Bits: TypeAlias = Literal[4, 8]

GROUP = 64  # inputs that share a scale
TILE = 16  # outputs whose codes are stored together
LARGEST = {4: 7, 8: 127}
BYTES = {4: TILE * GROUP // 2, 8: TILE * GROUP}  # of codes, for one tile and group


class PackedWeight(nn.Module):
    """A weight (outputs, inputs) in 4 or 8 bits.

    codes   (tiles, groups, bytes) uint8, in the order that the module's docstring gives
    scales  (tiles, groups, 16) bfloat16, one for each output and group; a weight is its code times its scale
    """

    codes: Tensor
    scales: Tensor

    def __init__(self, codes: Tensor, scales: Tensor, *, bits: Bits, outputs: int, inputs: int) -> None:
        super().__init__()
        tiles, groups = -(-outputs // TILE), -(-inputs // GROUP)
        assert codes.shape == (tiles, groups, BYTES[bits]) and codes.dtype == torch.uint8, codes.shape
        assert scales.shape == (tiles, groups, TILE) and scales.dtype == torch.bfloat16, scales.shape
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.bits = bits
        self.outputs, self.inputs = outputs, inputs

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs)."""
        return self.outputs, self.inputs

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"{self.outputs}, {self.inputs}, bits={self.bits}"


def pack(weight: Tensor, bits: Bits, scales: Tensor | None = None) -> PackedWeight:
    """Round (outputs, inputs) to the nearest codes.

    scales  (padded outputs, groups) bfloat16; by default those of `group_scales`
    """
    outputs, inputs = weight.shape
    groups = grouped(weight)
    scales = group_scales(groups, bits) if scales is None else scales
    codes = round_to_codes(groups, scales, bits)
    return PackedWeight(_order(codes, bits), _tile_scales(scales), bits=bits, outputs=outputs, inputs=inputs)


def grouped(weight: Tensor) -> Tensor:
    """(outputs, inputs) -> (padded outputs, groups, 64) float32."""
    outputs, inputs = weight.shape
    return F.pad(weight.float(), (0, -inputs % GROUP, 0, -outputs % TILE)).unflatten(1, (-1, GROUP))


def group_scales(groups: Tensor, bits: Bits) -> Tensor:
    """Scales of the largest magnitudes: (outputs, groups, 64) -> (outputs, groups) bfloat16.

    With 8 bits, a group's largest magnitude gets code 127 or -127. With 4 bits it gets code -8, whatever its sign, so
    that all 16 codes are used (as ggml's Q4_0 does).
    """
    if bits == 8:
        return (groups.abs().amax(-1) / 127).bfloat16()
    extreme = groups.gather(-1, groups.abs().argmax(-1, keepdim=True)).squeeze(-1)
    return (extreme / -8).bfloat16()


def round_to_codes(groups: Tensor, scales: Tensor, bits: Bits) -> Tensor:
    """Signed int8 codes nearest to `groups` (outputs, groups, 64) float32, for `scales` (outputs, groups)."""
    step = scales.float().unsqueeze(-1)
    codes = torch.where(step == 0, 0.0, groups / step).round()
    return codes.clamp(-8 if bits == 4 else -127, LARGEST[bits]).to(torch.int8)


def unpack(packed: PackedWeight) -> Tensor:
    """The weight as (outputs, inputs) float32: codes times scales."""
    return unpack_tiles(packed, 0, len(packed.codes))[: packed.outputs]


def unpack_tiles(packed: PackedWeight, first: int, last: int) -> Tensor:
    """Tiles [first, last) as (16 * tiles, inputs) float32, with the padding of the last tile."""
    codes = packed.codes[first:last]
    tiles, groups = codes.shape[:2]
    if packed.bits == 4:
        nibbles = torch.stack([codes & 15, codes >> 4], dim=2).view(tiles, groups, 2, GROUP // 4, 8, 4)
        signed = nibbles.permute(0, 2, 4, 1, 3, 5).float() - 8  # tile, half, output, group, step, input
    else:
        signed = codes.view(torch.int8).view(tiles, groups, GROUP // 2, TILE, 2).permute(0, 3, 1, 2, 4).float()
    signed = signed.reshape(tiles, TILE, groups, GROUP)
    scales = packed.scales[first:last].float().transpose(1, 2).unsqueeze(-1)
    return (signed * scales).view(tiles * TILE, groups * GROUP)[:, : packed.inputs]


def _order(codes: Tensor, bits: Bits) -> Tensor:
    """(outputs, groups, 64) int8 -> (tiles, groups, bytes) uint8."""
    groups = codes.shape[1]
    if bits == 4:
        split = (codes + 8).to(torch.uint8).view(-1, 2, 8, groups, GROUP // 4, 4).permute(0, 3, 1, 4, 2, 5)
        low, high = split[:, :, 0], split[:, :, 1]
        return (low | (high << 4)).flatten(2).contiguous()
    split = codes.view(-1, TILE, groups, GROUP // 2, 2).permute(0, 2, 3, 1, 4)
    return split.flatten(2).contiguous().view(torch.uint8)


def _tile_scales(scales: Tensor) -> Tensor:
    return scales.view(-1, TILE, scales.shape[1]).transpose(1, 2).contiguous()
