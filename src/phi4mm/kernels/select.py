"""The operators that the model calls. Only here is it decided which implementation runs, by device, dtype and rows.

With few rows, the time of a product is that of reading the weight, so native kernels read it packed. With many it is
that of the arithmetic: CPUs with a native bf16 matmul then get a bf16 weight, others compute in integers or float32
(docs/decisions/0007). The fused decoder follows the same rules, so that both paths give a sequence the same numbers.

T packed tokens, O outputs, I inputs, D model width, H query heads, K key/value heads, E head width, b tokens to decode,
Q queries (new tokens) and S tokens of one sequence, Z pages of the longest sequence.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from phi4mm.kernels import panels, precision, reference, vector_math
from phi4mm.kernels.cpu import library, ops
from phi4mm.kernels.cpu.decoder import DecoderShape, LayerWeights, weights_of
from phi4mm.kernels.kv_layout import LayerPages, gather
from phi4mm.kernels.packed_weight import PackedWeight, unpack_tiles

vector_math.initialize()  # before any model computes: every one of them imports this module

FEW_ROWS = 8  # below this a product is bound by reading the weight, and 16 bits read half as much
MANY_ROWS = 32  # from here on, unpacking a panel for the native bf16 matmul pays off
NATIVE_DTYPES = (torch.float32, torch.bfloat16)  # of activations
HEAD_WIDTH, HEAD_GROUP = 256, 8  # limits of native attention: head width, query heads for each key/value head
ANY_ROWS = 1 << 30


def linear(x: Tensor, weight: Tensor | PackedWeight) -> Tensor:
    """x (..., I) @ weight (O, I).T -> (..., O), in x's dtype."""
    if isinstance(weight, PackedWeight):
        if _packed_is_native(x, weight):
            return ops.packed_linear(x, weight)
        return panels.packed_linear(x, weight, _panel_dtype(x), _unpack)
    if x.numel() < FEW_ROWS * x.shape[-1]:
        if _is_bfloat16(weight) and x.dtype == torch.bfloat16 and _is_native(x, weight) and weight.is_contiguous():
            return ops.bfloat16_linear(x, weight)
        return reference.linear(x, weight)
    return panels.float32_linear(x, weight) if precision.needs_upcast(weight) else reference.linear(x, weight)


def add_linear(y: Tensor, x: Tensor, weight: Tensor | PackedWeight, factor: float) -> Tensor:
    """y (..., O) + factor * (x (..., I) @ weight.T). May change y in place: use the returned tensor."""
    if isinstance(weight, PackedWeight) and y.is_contiguous() and y.dtype == x.dtype and _packed_is_native(x, weight):
        ops.add_packed_linear(y, x, weight, factor)
        return y
    return y + linear(x, weight) * factor


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x (..., D): normalised in float32, cast to x's dtype, then scaled by weight (D,)."""
    if x.dtype == weight.dtype and x.numel() and _is_native(x, weight):
        return ops.rms_norm(x, weight, eps)
    return reference.rms_norm(x, weight, eps)


def rotate_heads(x_THE: Tensor, heads: int, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the first `rotary` dims of the first `heads` heads, dim i with i + rotary/2; the rest is unchanged.

    x_THE       (T, H + 2 K, E) queries, keys and values; may be changed in place: use the returned tensor
    cos, sin    (T, 1, rotary) in x's dtype
    """
    if x_THE.dtype == cos.dtype and x_THE.numel() and x_THE.is_contiguous() and _is_native(x_THE, cos):
        ops.rotate_heads(x_THE, heads, cos, sin)
        return x_THE
    return reference.rotate_heads(x_THE, heads, cos, sin)


def swiglu(x: Tensor) -> Tensor:
    """(T, 2 I) -> (T, I): up * silu(gate), gate first."""
    return ops.swiglu(x) if x.numel() and _is_native(x) else reference.swiglu(x)


def scatter(pages: Tensor, slots: Tensor, x: Tensor) -> None:
    """Copy x (T, ...), T at least 1, to the indices `slots` (T,) int64 of `pages` (slots, ...), in place."""
    if (
        x.device.type == "cpu"
        and x.dtype == pages.dtype
        and slots.dtype == torch.int64
        and pages.is_contiguous()
        and slots.is_contiguous()
        and x[0].is_contiguous()
        and library.library() is not None
    ):
        ops.scatter(pages, slots, x)
    else:
        reference.scatter(pages, slots, x)


def decode_attention(q_bHE: Tensor, pages: LayerPages, tables: Tensor, lengths: Tensor) -> Tensor:
    """(b, H, E): query i over the first lengths[i] tokens of the pages in tables[i].

    tables (b, Z) int32 page numbers, lengths (b,) int32 tokens; no gradients
    """
    supported = q_bHE.dtype in NATIVE_DTYPES and pages.keys.dtype in ops.PAGE_KINDS and q_bHE.device.type == "cpu"
    if supported and _heads_are_native(q_bHE.shape[1], pages) and library.library() is not None:
        return ops.decode_attention(q_bHE, pages, tables, lengths)
    return reference.decode_attention(q_bHE, pages, tables, lengths)


def prefill_attention(q_QHE: Tensor, pages: LayerPages, tables: Tensor, lengths: Tensor) -> Tensor:
    """(Q, H, E): one sequence's queries, the last Q of its lengths[0] tokens in the pages of tables[0].

    tables (1, Z) int32, lengths (1,) int32
    """
    return causal_attention(q_QHE, *gather(pages, tables[0], int(lengths[0]), q_QHE.dtype))


def causal_attention(q_QHE: Tensor, k_SKE: Tensor, v_SKE: Tensor) -> Tensor:
    """(Q, H, E): causal attention of one sequence, whose last Q of S tokens are queries."""
    if 1 < len(q_QHE) == len(k_SKE) and q_QHE.device.type != "cpu":
        return reference.square_causal_attention(q_QHE, k_SKE, v_SKE)
    return reference.causal_attention(q_QHE, k_SKE, v_SKE)


def packed_causal_attention(q_THE: Tensor, k_TKE: Tensor, v_TKE: Tensor, tables: Sequence[Tensor]) -> Tensor:
    """(T, H, E): causal attention of several packed sequences that have no cache; see the reference."""
    return reference.packed_causal_attention(q_THE, k_TKE, v_TKE, tables)


def fused_decoder_rows(layers: Sequence[LayerWeights], shape: DecoderShape) -> int:
    """Most rows of a step that the fused decoder computes as the operators above would; 0 where it cannot run."""
    dtype, pages = layers[0].norm1.dtype, layers[0].pages
    tensors = [t for layer in layers for t in (layer.norm1, layer.norm2, *layer.pages) if t is not None]
    weights = [weight for layer in layers for weight in weights_of(layer)]
    supported = (
        dtype in NATIVE_DTYPES
        and all(t.device.type == "cpu" and t.is_contiguous() for t in tensors)
        and all(layer.norm1.dtype == layer.norm2.dtype == dtype for layer in layers)
        and pages.keys.dtype in (dtype, torch.int8)
        and all(_fuses(weight, dtype) for weight in weights)
        and _heads_are_native(shape.heads, pages)
        and library.library() is not None
    )
    if not supported:
        return 0
    if any(isinstance(weight, Tensor) for weight in weights):
        return FEW_ROWS - 1
    return MANY_ROWS - 1 if precision.has_native_bf16() else ANY_ROWS


def _is_native(x: Tensor, *others: Tensor) -> bool:
    """Whether native kernels may run on x: on a CPU, in a supported dtype, and without gradients."""
    return (
        x.device.type == "cpu"
        and x.dtype in NATIVE_DTYPES
        and not (torch.is_grad_enabled() and (x.requires_grad or any(t.requires_grad for t in others)))
        and library.library() is not None
    )


def _packed_is_native(x: Tensor, weight: PackedWeight) -> bool:
    many = x.numel() >= MANY_ROWS * x.shape[-1]
    return weight.codes.is_contiguous() and _is_native(x) and not (many and precision.has_native_bf16())


def _is_bfloat16(weight: Tensor) -> bool:
    """Whether the native bfloat16 product takes the weight: of that dtype, and with sizes that are multiples of 8."""
    return weight.dtype == torch.bfloat16 and not any(n % 8 for n in weight.shape)


def _heads_are_native(heads: int, pages: LayerPages) -> bool:
    kv_heads, width = pages.keys.shape[2:]
    return width <= HEAD_WIDTH and width % 8 == 0 and heads // kv_heads <= HEAD_GROUP


def _fuses(weight: Tensor | PackedWeight, dtype: torch.dtype) -> bool:
    if isinstance(weight, PackedWeight):
        return weight.codes.device.type == "cpu" and weight.codes.is_contiguous() and weight.scales.is_contiguous()
    return dtype == torch.bfloat16 and _is_bfloat16(weight) and weight.device.type == "cpu" and weight.is_contiguous()


def _panel_dtype(x: Tensor) -> torch.dtype:
    """x's own dtype where the machine multiplies it fast, else float32."""
    return x.dtype if x.device.type != "cpu" or precision.has_native_bf16() else torch.float32


def _unpack(weight: PackedWeight, first: int, last: int, dtype: torch.dtype) -> Tensor:
    """Tiles [first, last) as (16 * tiles, I) in `dtype`."""
    if weight.codes.device.type == "cpu" and dtype in NATIVE_DTYPES and library.library() is not None:
        return ops.unpack(weight, first, last, dtype)
    return unpack_tiles(weight, first, last).to(dtype)
