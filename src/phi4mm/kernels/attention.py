"""Grouped-query attention, dense and over pages: the readable reference, and a C twin for decoding.

B rows of one query each, S queries of one row, H query heads, K key/value heads, E head width, N keys, W pages a row.
The functions over pages take the same arguments: queries (.., H, E), one layer's pages, tables (rows, W) int32 of page
numbers, lengths (rows,) int32 of tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from phi4mm.kernels.cpu import library as native

KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}  # of keys and values, as attention.c counts them
WIDTH_IN_C, GROUP_IN_C = 256, 8  # its largest head, and most heads that share keys
QUERIES = 128  # queries of a chunk at a time: a mask of them stays small beside 32k keys


class LayerPages(NamedTuple):
    """One layer's (pages, page, K, E) keys and values; int8 ones come with (pages, page, K) float32 scales."""

    keys: Tensor
    values: Tensor
    key_scales: Tensor | None
    value_scales: Tensor | None


def decode_attention(q_BHE: Tensor, pages: LayerPages, tables: Tensor, lengths: Tensor) -> Tensor:
    """(B, H, E): row b's one query over the first lengths[b] tokens of the pages in tables[b]."""
    width, group = q_BHE.shape[2], q_BHE.shape[1] // pages.keys.shape[2]
    known = q_BHE.dtype in (torch.float32, torch.bfloat16) and pages.keys.dtype in KINDS and q_BHE.device.type == "cpu"
    fits = width <= WIDTH_IN_C and width % 8 == 0 and group <= GROUP_IN_C
    if known and fits and native.library():
        return decode_attention_c(q_BHE, pages, tables, lengths)
    return decode_attention_reference(q_BHE, pages, tables, lengths)


def decode_attention_c(q_BHE: Tensor, pages: LayerPages, tables: Tensor, lengths: Tensor) -> Tensor:
    """The same in C (cpu/csrc/attention.c): pages are read where they lie, and softmax runs over them in float32."""
    library = native.library()
    assert library is not None
    keys, values, *scales = pages
    assert tables.dtype == lengths.dtype == torch.int32 and keys.is_contiguous() and values.is_contiguous()
    q, tables, lengths = q_BHE.contiguous(), tables.contiguous(), lengths.contiguous()
    out, longest = torch.empty_like(q), tables.shape[1] * keys.shape[1]
    scratch = torch.empty(library.phi4mm_decode_scratch(*q.shape, longest), device="cpu")
    library.phi4mm_decode(
        q.data_ptr(), q.dtype == torch.bfloat16, *q.shape, keys.data_ptr(), values.data_ptr(), KINDS[keys.dtype],
        *(None if scale is None else scale.data_ptr() for scale in scales),
        keys.shape[1], keys.shape[2], tables.data_ptr(), tables.shape[1], lengths.data_ptr(), longest,
        out.data_ptr(), scratch.data_ptr(), torch.get_num_threads(),
    )  # fmt: skip
    return out


def decode_attention_reference(q_BHE: Tensor, pages: LayerPages, tables: Tensor, lengths: Tensor) -> Tensor:
    """(B, H, E): row b's one query over the first lengths[b] tokens of the pages in tables[b]."""
    rows = []
    for q_HE, table, length in zip(q_BHE, tables, lengths.tolist(), strict=True):
        k_NKE = gather(pages.keys, pages.key_scales, table, length, q_HE.dtype)
        v_NKE = gather(pages.values, pages.value_scales, table, length, q_HE.dtype)
        rows.append(_every_key(q_HE[None], k_NKE, v_NKE))
    return torch.cat(rows)


def chunk_attention(q_SHE: Tensor, pages: LayerPages, tables: Tensor, lengths: Tensor) -> Tensor:
    """(S, H, E): one row's S queries, which are the last of its lengths[0] tokens in the pages of tables[0]."""
    length = int(lengths[0])
    k_NKE = gather(pages.keys, pages.key_scales, tables[0], length, q_SHE.dtype)
    v_NKE = gather(pages.values, pages.value_scales, tables[0], length, q_SHE.dtype)
    return causal_attention(q_SHE, k_NKE, v_NKE)


def gather(pages: Tensor, scales: Tensor | None, table: Tensor, length: int, dtype: torch.dtype) -> Tensor:
    """(length, K, E) keys or values of one row, dequantized to `dtype`."""
    table = table[: -(-length // pages.shape[1])]
    x_NKE = pages[table].flatten(0, 1)[:length]
    if scales is None:
        return x_NKE
    return (x_NKE * scales[table].flatten(0, 1)[:length, :, None]).to(dtype)


def causal_attention(q_SHE: Tensor, k_NKE: Tensor, v_NKE: Tensor) -> Tensor:
    """(S, H, E): one row's attention; the S queries are the last of the keys' positions."""
    queries, keys = len(q_SHE), len(k_NKE)
    if queries == 1:
        return _every_key(q_SHE, k_NKE, v_NKE)
    if queries == keys and q_SHE.device.type != "cpu":  # a CPU computes the hidden half as well
        groups = q_SHE.shape[1] // k_NKE.shape[1]
        k, v = (x.transpose(0, 1).repeat_interleave(groups, 0) for x in (k_NKE, v_NKE))
        out = F.scaled_dot_product_attention(q_SHE.transpose(0, 1)[None], k[None], v[None], is_causal=True)
        return out[0].transpose(0, 1)
    past = keys - queries
    outs = []
    for start in range(0, queries, QUERIES):
        end = min(start + QUERIES, queries)
        seen = past + end
        mask = torch.ones(end - start, seen, dtype=torch.bool, device=q_SHE.device).tril(past + start)
        outs.append(_grouped(q_SHE[start:end], k_NKE[:seen], v_NKE[:seen], mask))
    return torch.cat(outs)


def _every_key(q_SHE: Tensor, k_NKE: Tensor, v_NKE: Tensor) -> Tensor:
    return _grouped(q_SHE, k_NKE, v_NKE, None)


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
