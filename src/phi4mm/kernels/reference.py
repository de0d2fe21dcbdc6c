"""Every operator of the decoder in plain torch. The other implementations are tested against these.

T packed tokens, O outputs, I inputs, D model width, H query heads, K key/value heads, E head width, b tokens to decode,
Q queries (new tokens) and S tokens of one sequence, Z pages of the longest sequence.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from phi4mm.kernels.kv_layout import LayerPages, gather
from phi4mm.kernels.packed_weight import PackedWeight, unpack

QUERIES = 128  # of a sequence at a time, so that the mask is small even for 32k keys


def linear(x: Tensor, weight: Tensor | PackedWeight) -> Tensor:
    """x (..., I) @ weight (O, I).T -> (..., O), in x's dtype; a packed weight is multiplied in float32."""
    if isinstance(weight, PackedWeight):
        return F.linear(x.float(), unpack(weight)).to(x.dtype)
    return F.linear(x, weight)


def add_linear(y: Tensor, x: Tensor, weight: Tensor | PackedWeight, factor: float) -> Tensor:
    """y (..., O) + factor * (x (..., I) @ weight.T)."""
    return y + linear(x, weight) * factor


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x (..., D): normalised in float32, cast to x's dtype, then scaled by weight (D,)."""
    x32 = x.float()
    x32 = x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + eps)
    return weight * x32.to(x.dtype)


def rotate_heads(x_THE: Tensor, heads: int, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the first `rotary` dims of the first `heads` heads, dim i with i + rotary/2; the rest is unchanged.

    cos, sin    (T, 1, rotary) in x's dtype
    """
    rotary = cos.shape[-1]
    x, rest = x_THE[:, :heads, :rotary], x_THE[:, :heads, rotary:]
    low, high = x.chunk(2, dim=-1)
    rotated = x * cos + torch.cat([-high, low], dim=-1) * sin
    return torch.cat([torch.cat([rotated, rest], dim=-1), x_THE[:, heads:]], dim=1)


def swiglu(x: Tensor) -> Tensor:
    """(..., 2 I) -> (..., I): up * silu(gate), gate first."""
    gate, up = x.chunk(2, dim=-1)
    return up * F.silu(gate)


def scatter(pages: Tensor, slots: Tensor, x: Tensor) -> None:
    """Copy x (T, ...) to the indices `slots` (T,) int64 of `pages` (slots, ...), in place."""
    pages.index_copy_(0, slots, x)


def decode_attention(q_bHE: Tensor, pages: LayerPages, tables: Tensor, lengths: Tensor) -> Tensor:
    """(b, H, E): query i over the first lengths[i] tokens of the pages in tables[i].

    tables (b, Z) int32 page numbers, lengths (b,) int32 tokens
    """
    outputs = []
    for q_HE, table, length in zip(q_bHE, tables, lengths.tolist(), strict=True):
        outputs.append(_grouped(q_HE[None], *gather(pages, table, length, q_HE.dtype), None))
    return torch.cat(outputs)


def prefill_attention(q_QHE: Tensor, pages: LayerPages, tables: Tensor, lengths: Tensor) -> Tensor:
    """(Q, H, E): one sequence's queries, the last Q of its lengths[0] tokens in the pages of tables[0].

    tables (1, Z) int32, lengths (1,) int32
    """
    return causal_attention(q_QHE, *gather(pages, tables[0], int(lengths[0]), q_QHE.dtype))


def causal_attention(q_QHE: Tensor, k_SKE: Tensor, v_SKE: Tensor) -> Tensor:
    """(Q, H, E): causal attention of one sequence, whose last Q of S tokens are queries. QUERIES at a time."""
    queries, keys = len(q_QHE), len(k_SKE)
    if queries == 1:
        return _grouped(q_QHE, k_SKE, v_SKE, None)
    past = keys - queries
    outputs = []
    for start in range(0, queries, QUERIES):
        end = min(start + QUERIES, queries)
        visible = past + end
        mask = torch.ones(end - start, visible, dtype=torch.bool, device=q_QHE.device).tril(past + start)
        outputs.append(_grouped(q_QHE[start:end], k_SKE[:visible], v_SKE[:visible], mask))
    return torch.cat(outputs)


def square_causal_attention(q_QHE: Tensor, k_SKE: Tensor, v_SKE: Tensor) -> Tensor:
    """The same where all S tokens are queries, with torch's `is_causal`, which saves nothing on a CPU."""
    groups = q_QHE.shape[1] // k_SKE.shape[1]
    k, v = (x.transpose(0, 1).repeat_interleave(groups, 0) for x in (k_SKE, v_SKE))
    out = F.scaled_dot_product_attention(q_QHE.transpose(0, 1)[None], k[None], v[None], is_causal=True)
    return out[0].transpose(0, 1)


def packed_causal_attention(q_THE: Tensor, k_TKE: Tensor, v_TKE: Tensor, tables: Sequence[Tensor]) -> Tensor:
    """(T, H, E): causal attention of several packed sequences that have no cache, as in training.

    In float32 also under autocast: torch's attention on CPUs is two to three times slower in bfloat16.

    tables  each (sequences, tokens) int64: packed indices of sequences of about one length, padded at the end with -1
    """
    width = q_THE.shape[-1]
    with torch.autocast(q_THE.device.type, enabled=False):
        outputs, order = [], []
        for table in tables:
            valid, flat = table.flatten() >= 0, table.flatten().clamp(min=0)
            q, k, v = (
                x.float().index_select(0, flat).view(*table.shape, -1, width).transpose(1, 2)
                for x in (q_THE, k_TKE, v_TKE)
            )
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            outputs.append(out.transpose(1, 2).flatten(0, 1)[valid])
            order.append(flat[valid])
        return torch.cat(outputs).index_select(0, torch.cat(order).argsort()).to(q_THE.dtype)


def _grouped(q_QHE: Tensor, k_SKE: Tensor, v_SKE: Tensor, mask_QS: Tensor | None) -> Tensor:
    """Attention in which the query heads of a group are queries of one key/value head, so keys are not repeated."""
    queries, heads, width = q_QHE.shape
    kv_heads = k_SKE.shape[1]
    groups = heads // kv_heads
    q = q_QHE.view(queries, kv_heads, groups, width).permute(1, 2, 0, 3).reshape(kv_heads, groups * queries, width)
    k, v = k_SKE.transpose(0, 1), v_SKE.transpose(0, 1)
    mask = None if mask_QS is None else mask_QS.repeat(groups, 1)
    out = F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask)[0]
    return out.view(kv_heads, groups, queries, width).permute(2, 0, 1, 3).reshape(queries, heads, width)
