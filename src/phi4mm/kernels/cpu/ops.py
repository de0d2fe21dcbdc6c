"""Python functions that call the native kernels of csrc/ with pointers and shapes. `select` decides which of them run.

All tensors are on the CPU. T packed tokens, O outputs, I inputs, D model width, H query heads, E head width, b tokens
to decode, Z pages of the longest sequence.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from phi4mm.kernels.cpu.library import Library, library
from phi4mm.kernels.kv_layout import LayerPages
from phi4mm.kernels.packed_weight import TILE, PackedWeight

PAGE_KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}  # Pages.kind in kernels.h


def native() -> Library:
    """The library. The caller has made sure that there is one."""
    loaded = library()
    assert loaded is not None, "a native kernel was chosen and there is no library"
    return loaded


def packed_linear(x: Tensor, weight: PackedWeight) -> Tensor:
    """x (..., I) @ weight.T -> (..., O), float32 or bfloat16. A row's result does not depend on other rows.

    It is computed in integers: groups of 64 inputs of x are rounded to 8 bits for 4-bit weights, to 16 bits for 8-bit
    weights.
    """
    y = x.new_empty(*x.shape[:-1], weight.outputs)
    _packed(x, weight, y, add=False)
    return y


def add_packed_linear(y: Tensor, x: Tensor, weight: PackedWeight, factor: float) -> None:
    """y (..., O), contiguous and of x's dtype, += factor * (x @ weight.T)."""
    _packed(x, weight, y, add=True, factor=factor)


def _packed(x: Tensor, weight: PackedWeight, y: Tensor, *, add: bool, factor: float = 1.0) -> None:
    lib = native()
    x_2d = x.reshape(-1, x.shape[-1]).contiguous()
    rows, inputs = x_2d.shape
    assert inputs == weight.inputs, f"{inputs} inputs for a weight of {weight.shape}"
    scratch = _bytes(lib.functions.phi4mm_packed_scratch(rows, inputs, weight.bits))
    lib.functions.phi4mm_packed(
        ctypes.byref(weight_struct(lib, weight)), x_2d.data_ptr(), x.dtype == torch.bfloat16, rows, y.data_ptr(),
        add, factor, scratch.data_ptr(), torch.get_num_threads(),
    )  # fmt: skip


def unpack(weight: PackedWeight, first: int, last: int, dtype: torch.dtype) -> Tensor:
    """Tiles [first, last) as (16 * tiles, I) in `dtype`, float32 or bfloat16."""
    lib = native()
    panel = torch.empty((last - first) * TILE, weight.inputs, dtype=dtype)
    lib.functions.phi4mm_unpack(
        ctypes.byref(weight_struct(lib, weight)), first, last, panel.data_ptr(), dtype == torch.bfloat16,
        torch.get_num_threads(),
    )  # fmt: skip
    return panel


def bfloat16_linear(x: Tensor, weight: Tensor) -> Tensor:
    """x (..., I) @ weight (O, I).T -> (..., O), all bfloat16 and summed in float32; O and I multiples of 8."""
    lib = native()
    x_2d = x.reshape(-1, x.shape[-1]).contiguous()
    y = x.new_empty(*x.shape[:-1], weight.shape[0])
    scratch = torch.empty(x_2d.shape, dtype=torch.float32, device="cpu")
    lib.functions.phi4mm_bf16(
        ctypes.byref(weight_struct(lib, weight)), x_2d.data_ptr(), len(x_2d), y.data_ptr(), scratch.data_ptr(),
        torch.get_num_threads(),
    )  # fmt: skip
    return y


def decode_attention(q_bHE: Tensor, pages: LayerPages, tables: Tensor, lengths: Tensor) -> Tensor:
    """(b, H, E): query i over the first lengths[i] tokens of the pages in tables[i]; softmax in float32."""
    lib = native()
    assert tables.dtype == lengths.dtype == torch.int32 and pages.keys.is_contiguous() and pages.values.is_contiguous()
    q, tables, lengths = q_bHE.contiguous(), tables.contiguous(), lengths.contiguous()
    out, page_tables = torch.empty_like(q), tables_struct(lib, pages, tables, lengths)
    _, heads, width = q.shape
    scratch = torch.empty(lib.functions.phi4mm_decode_scratch(ctypes.byref(page_tables), heads, width), device="cpu")
    lib.functions.phi4mm_decode(
        ctypes.byref(pages_struct(lib, pages)), ctypes.byref(page_tables), q.data_ptr(), q.dtype == torch.bfloat16,
        heads, out.data_ptr(), scratch.data_ptr(), torch.get_num_threads(),
    )  # fmt: skip
    return out


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x (..., D), weight (D,) of the same dtype -> (..., D)."""
    x = x.contiguous()
    y = torch.empty_like(x)
    native().functions.phi4mm_rms_norm(
        x.data_ptr(), x.dtype == torch.bfloat16, x.numel() // x.shape[-1], x.shape[-1], weight.data_ptr(), eps,
        y.data_ptr(), torch.get_num_threads(),
    )  # fmt: skip
    return y


def rotate_heads(x_THE: Tensor, heads: int, cos: Tensor, sin: Tensor) -> None:
    """Rotate the first `heads` heads of x in place; cos and sin (T, 1, rotary) in x's dtype, x contiguous."""
    tokens, total, width = x_THE.shape
    native().functions.phi4mm_rotate(
        x_THE.data_ptr(), x_THE.dtype == torch.bfloat16, tokens, total, heads, width, cos.contiguous().data_ptr(),
        sin.contiguous().data_ptr(), cos.shape[-1] // 2, torch.get_num_threads(),
    )  # fmt: skip


def swiglu(x: Tensor) -> Tensor:
    """(..., 2 I) -> (..., I)."""
    x = x.contiguous()
    y = x.new_empty(*x.shape[:-1], x.shape[-1] // 2)
    native().functions.phi4mm_swiglu(
        x.data_ptr(), x.dtype == torch.bfloat16, y.numel() // y.shape[-1], y.shape[-1], y.data_ptr(),
        torch.get_num_threads(),
    )  # fmt: skip
    return y


def scatter(pages: Tensor, slots: Tensor, x: Tensor) -> None:
    """Copy x (T, ...), T at least 1, to the indices `slots` (T,) int64 of `pages` (slots, ...), in place."""
    failed = native().functions.phi4mm_scatter(
        x.data_ptr(), len(x), x[0].numel() * x.element_size(), x.stride(0) * x.element_size(), slots.data_ptr(),
        pages.data_ptr(), len(pages),
    )  # fmt: skip
    assert not failed, f"slots {slots.tolist()} of {len(pages)}"


def weight_struct(lib: Library, weight: Tensor | PackedWeight) -> ctypes.Structure:
    """`Weight` of kernels.h. Its addresses are valid as long as the weight's tensors are."""
    values, scales, bits = weight, None, 16
    if isinstance(weight, PackedWeight):
        values, scales, bits = weight.codes, weight.scales.data_ptr(), weight.bits
    assert isinstance(values, Tensor)
    outputs, inputs = weight.shape
    return lib.structs["Weight"](
        values=values.data_ptr(), scales=scales, bits=bits, outputs=outputs, inputs=inputs
    )  # fmt: skip


def pages_struct(lib: Library, pages: LayerPages) -> ctypes.Structure:
    """`Pages` of kernels.h."""
    count, page, kv_heads, width = pages.keys.shape
    return lib.structs["Pages"](
        keys=pages.keys.data_ptr(),
        values=pages.values.data_ptr(),
        key_scales=None if pages.key_scales is None else pages.key_scales.data_ptr(),
        value_scales=None if pages.value_scales is None else pages.value_scales.data_ptr(),
        kind=PAGE_KINDS[pages.keys.dtype],
        count=count,
        page=page,
        kv_heads=kv_heads,
        width=width,
    )


def tables_struct(lib: Library, pages: LayerPages, tables: Tensor, lengths: Tensor) -> ctypes.Structure:
    """`PageTables` of kernels.h; tables (b, Z) and lengths (b,) int32, contiguous."""
    rows, width = tables.shape
    return lib.structs["PageTables"](
        tables=tables.data_ptr(),
        lengths=lengths.data_ptr(),
        rows=rows,
        width=width,
        longest=width * pages.keys.shape[1],
    )


def _bytes(count: int) -> Tensor:
    return torch.empty(count, dtype=torch.uint8, device="cpu")
