"""How keys and values are stored in pages, and how they are read from them.

T packed tokens, S tokens of one sequence, Z pages of one sequence, K key/value heads, E head width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class LayerPages(NamedTuple):
    """One layer's keys and values (pages, page, K, E). If they are int8, they have float32 scales (pages, page, K)."""

    keys: Tensor
    values: Tensor
    key_scales: Tensor | None
    value_scales: Tensor | None


def quantize_heads(x_TKE: Tensor) -> tuple[Tensor, Tensor]:
    """int8 (T, K, E) and float32 scales (T, K), one a token and head; int8 * scale is within half a scale of x."""
    scale_TK = x_TKE.abs().amax(-1).float() / 127
    rounded = (x_TKE / scale_TK.clamp(min=torch.finfo(torch.float32).tiny)[..., None]).round()
    return rounded.to(torch.int8), scale_TK


def gather(pages: LayerPages, table: Tensor, length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The first `length` keys and values (S, K, E) of the pages in table (Z,); int8 ones are dequantized to `dtype`."""
    return (
        _gather(pages.keys, pages.key_scales, table, length, dtype),
        _gather(pages.values, pages.value_scales, table, length, dtype),
    )


def _gather(pages: Tensor, scales: Tensor | None, table: Tensor, length: int, dtype: torch.dtype) -> Tensor:
    table = table[: -(-length // pages.shape[1])]
    x_SKE = pages[table].flatten(0, 1)[:length]
    if scales is None:
        return x_SKE
    return (x_SKE * scales[table].flatten(0, 1)[:length, :, None]).to(dtype)
