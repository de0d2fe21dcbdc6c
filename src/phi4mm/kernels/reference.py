"""Every operator of the decoder in plain torch: the specification that other implementations are tested against.

T packed tokens, O outputs, I inputs, D model width, H query heads, K key/value heads, E head width, B sequences of one
query each, S queries and N keys of one sequence, W pages of a sequence.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from phi4mm.kernels.kv_layout import LayerPages, gather
from phi4mm.kernels.packed_weight import PackedWeight, unpack

QUERIES = 128  # of a sequence at a time: a mask of them stays small beside 32k keys


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
    """The first `rotary` dims of the first `heads` heads rotated, pair i with i + rotary/2; the rest passes through.

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
    """Copy x (T, ...) to places `slots` (T,) int64 of pages (N, ...), which is changed."""
    pages.index_copy_(0, slots, x)


def decode_attention(q_BHE: Tensor, pages: LayerPages, tables: Tensor, lengths: Tensor) -> Tensor:
    """(B, H, E): each sequence's one query over the first lengths[b] tokens of the pages in tables[b].

    tables (B, W) int32 page numbers, lengths (B,) int32 tokens
    """
    found = []
    for q_HE, table, length in zip(q_BHE, tables, lengths.tolist(), strict=True):
        found.append(_grouped(q_HE[None], *gather(pages, table, length, q_HE.dtype), None))
    return torch.cat(found)


def prefill_attention(q_SHE: Tensor, pages: LayerPages, tables: Tensor, lengths: Tensor) -> Tensor:
    """(S, H, E): one sequence's queries, the last S of its lengths[0] tokens in the pages of tables[0].

    tables (1, W) int32, lengths (1,) int32
    """
    return causal_attention(q_SHE, *gather(pages, tables[0], int(lengths[0]), q_SHE.dtype))


def causal_attention(q_SHE: Tensor, k_NKE: Tensor, v_NKE: Tensor) -> Tensor:
    """(S, H, E): one sequence's attention; the S queries are the last of the N positions. QUERIES at a time."""
    queries, keys = len(q_SHE), len(k_NKE)
    if queries == 1:
        return _grouped(q_SHE, k_NKE, v_NKE, None)
    past = keys - queries
    found = []
    for start in range(0, queries, QUERIES):
        end = min(start + QUERIES, queries)
        seen = past + end
        mask = torch.ones(end - start, seen, dtype=torch.bool, device=q_SHE.device).tril(past + start)
        found.append(_grouped(q_SHE[start:end], k_NKE[:seen], v_NKE[:seen], mask))
    return torch.cat(found)


def square_causal_attention(q_SHE: Tensor, k_SKE: Tensor, v_SKE: Tensor) -> Tensor:
    """The same for S queries on S keys, in torch's own causal form; a CPU computes both halves of the scores."""
    groups = q_SHE.shape[1] // k_SKE.shape[1]
    k, v = (x.transpose(0, 1).repeat_interleave(groups, 0) for x in (k_SKE, v_SKE))
    out = F.scaled_dot_product_attention(q_SHE.transpose(0, 1)[None], k[None], v[None], is_causal=True)
    return out[0].transpose(0, 1)


def _grouped(q_SHE: Tensor, k_NKE: Tensor, v_NKE: Tensor, mask_SN: Tensor | None) -> Tensor:
    """The heads of a group become queries of one head: keys and values are read once, and never repeated."""
    queries, heads, width = q_SHE.shape
    kv_heads = k_NKE.shape[1]
    groups = heads // kv_heads
    q = q_SHE.view(queries, kv_heads, groups, width).permute(1, 2, 0, 3).reshape(kv_heads, groups * queries, width)
    k, v = k_NKE.transpose(0, 1), v_NKE.transpose(0, 1)
    mask = None if mask_SN is None else mask_SN.repeat(groups, 1)
    out = F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask)[0]
    return out.view(kv_heads, groups, queries, width).permute(2, 0, 1, 3).reshape(queries, heads, width)
