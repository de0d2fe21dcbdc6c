"""Matrix product with a weight, plain or packed: torch's own product is the reference, C and panels the fast twins.

Which is fast depends on rows and machine (docs/decisions/0007): few rows are bound by reading the weight, so C reads
it in its small form; many rows are bound by arithmetic: 16-bit units get a 16-bit weight, others integers or float32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from phi4mm.kernels.cpu import library as native
from phi4mm.kernels.packed_weight import TILE, PackedWeight, unpack_tiles
from phi4mm.kernels.precision import has_16_bit_units, widens

FEW_ROWS = 8  # below this the product is bound by reading the weight, and 16-bit reads half as much
MANY_ROWS = 32  # from here on 16-bit units are worth unpacking a panel for
PANEL = 2048  # output features widened or unpacked at a time: 24 MB at width 3072


def linear(x: Tensor, weight: Tensor | PackedWeight) -> Tensor:
    """x (..., in) @ weight (out, in).T -> (..., out), in x's dtype."""
    if isinstance(weight, PackedWeight):
        if _packed_in_c(x, weight):
            return packed_linear_c(x, weight)
        return packed_linear_by_panels(x, weight)
    if x.numel() < FEW_ROWS * x.shape[-1]:
        if weight.dtype == x.dtype == torch.bfloat16 and _in_c(x, weight) and not any(n % 8 for n in weight.shape):
            return linear_c(x, weight)
        return F.linear(x, weight)
    return linear_by_panels(x, weight) if widens(weight) else F.linear(x, weight)


def add_linear(y: Tensor, x: Tensor, weight: Tensor | PackedWeight, factor: float) -> Tensor:
    """y (..., out) + factor * (x (..., in) @ weight.T); y may be changed in place, so use what is returned."""
    if isinstance(weight, PackedWeight) and y.is_contiguous() and y.dtype == x.dtype and _packed_in_c(x, weight):
        _packed_c(x, weight, y, factor)
        return y
    return y + linear(x, weight) * factor


def linear_by_panels(x: Tensor, weight: Tensor) -> Tensor:
    """The product in float32, rounded once to x's dtype; holds PANEL rows of the weight in float32 at a time."""
    x32 = x.float()
    panels = [F.linear(x32, panel.float()).to(x.dtype) for panel in weight.split(PANEL)]
    return panels[0] if len(panels) == 1 else torch.cat(panels, dim=-1)


def packed_linear_by_panels(x: Tensor, weight: PackedWeight) -> Tensor:
    """The same with a packed weight, in x's dtype where the machine multiplies that fast, else in float32."""
    narrow = x.dtype != torch.float32 and (x.device.type != "cpu" or has_16_bit_units())
    computed = x if narrow else x.float()
    panels = []
    for first in range(0, len(weight.codes), PANEL // TILE):
        panel = _unpack(weight, first, min(first + PANEL // TILE, len(weight.codes)), computed.dtype)
        panels.append(F.linear(computed, panel[: weight.outputs - first * TILE]).to(x.dtype))
    return panels[0] if len(panels) == 1 else torch.cat(panels, dim=-1)


def packed_linear_c(x: Tensor, weight: PackedWeight) -> Tensor:
    """The product in integers (cpu/csrc/packed.c): groups of 64 of x in 8 bits for 4-bit weights, in 16 for 8-bit ones.

    No row's result depends on another row.
    """
    y = x.new_empty(*x.shape[:-1], weight.outputs)
    _packed_c(x, weight, y, 0.0)
    return y


def _packed_c(x: Tensor, weight: PackedWeight, y: Tensor, factor: float) -> None:
    """Write the product into y, or add `factor` times it where that is not 0."""
    library = native.library()
    assert library is not None
    x_2d = x.reshape(-1, x.shape[-1]).contiguous()
    rows, inputs = x_2d.shape
    assert inputs == weight.inputs, f"{inputs} inputs for a weight of {weight.shape}"
    scratch = torch.empty(library.phi4mm_packed_scratch(rows, inputs, weight.bits), dtype=torch.uint8, device="cpu")
    library.phi4mm_packed(
        x_2d.data_ptr(), x.dtype == torch.bfloat16, rows, inputs, weight.codes.data_ptr(), weight.scales.data_ptr(),
        weight.bits, weight.outputs, y.data_ptr(), weight.outputs, factor, scratch.data_ptr(), torch.get_num_threads(),
    )  # fmt: skip


def linear_c(x: Tensor, weight: Tensor) -> Tensor:
    """The product of bfloat16 tensors, summed in float32; (out, in) multiples of 8."""
    library = native.library()
    assert library is not None
    x_2d = x.reshape(-1, x.shape[-1]).contiguous()
    y = x.new_empty(*x.shape[:-1], weight.shape[0])
    scratch = torch.empty(x_2d.shape, dtype=torch.float32, device="cpu")
    library.phi4mm_bf16(
        x_2d.data_ptr(), *x_2d.shape, weight.data_ptr(), weight.shape[0], y.data_ptr(), scratch.data_ptr(),
        torch.get_num_threads(),
    )  # fmt: skip
    return y


def _packed_in_c(x: Tensor, weight: PackedWeight) -> bool:
    many = x.numel() >= MANY_ROWS * x.shape[-1]
    return _in_c(x, weight.codes) and not (many and has_16_bit_units())


def _in_c(x: Tensor, weight: Tensor) -> bool:
    """Whether the C twins can run: on a CPU, in a dtype they know, and where no gradient is asked for."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and weight.is_contiguous()
        and not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))
        and native.library() is not None
    )


def _unpack(weight: PackedWeight, first: int, last: int, dtype: torch.dtype) -> Tensor:
    """Tiles [first, last) as (outputs, inputs) in `dtype`."""
    library = native.library() if weight.codes.device.type == "cpu" else None
    if library is None or dtype not in (torch.float32, torch.bfloat16):
        return unpack_tiles(weight, first, last).to(dtype)
    panel = torch.empty((last - first) * TILE, weight.inputs, dtype=dtype)
    library.phi4mm_unpack(
        weight.codes.data_ptr(), weight.scales.data_ptr(), weight.bits, weight.inputs, first, last, panel.data_ptr(),
        dtype == torch.bfloat16, weight.inputs, torch.get_num_threads(),
    )  # fmt: skip
    return panel
