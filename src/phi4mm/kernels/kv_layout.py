"""How keys and values lie in pages, and how they come out of them again.

T packed tokens, N tokens of one sequence, W pages of one sequence, K key/value heads, E head width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class LayerPages(NamedTuple):
    """One layer's (pages, page, K, E) keys and values; int8 ones come with (pages, page, K) float32 scales."""

    keys: Tensor
    values: Tensor
    key_scales: Tensor | None
    value_scales: Tensor | None


def quantize_heads(x_TKE: Tensor) -> tuple[Tensor, Tensor]:
    """int8 (T, K, E) and scales (T, K) float32 such that x is about int8 * scale: off by at most half a scale."""
    scale_TK = x_TKE.abs().amax(-1).float() / 127
    rounded = (x_TKE / scale_TK.clamp(min=torch.finfo(torch.float32).tiny)[..., None]).round()
    return rounded.to(torch.int8), scale_TK


def gather(pages: LayerPages, table: Tensor, length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The first `length` keys and values (N, K, E) of the pages in table (W,), int8 ones dequantized to `dtype`."""
    return (
        _gather(pages.keys, pages.key_scales, table, length, dtype),
        _gather(pages.values, pages.value_scales, table, length, dtype),
    )


def _gather(pages: Tensor, scales: Tensor | None, table: Tensor, length: int, dtype: torch.dtype) -> Tensor:
    table = table[: -(-length // pages.shape[1])]
    x_NKE = pages[table].flatten(0, 1)[:length]
    if scales is None:
        return x_NKE
    return (x_NKE * scales[table].flatten(0, 1)[:length, :, None]).to(dtype)
