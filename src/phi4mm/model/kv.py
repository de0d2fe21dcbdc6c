"""Keys and values of all sequences, in pages.

T packed tokens, K key/value heads, E head width, L layers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from phi4mm.config.model import TextConfig
from phi4mm.kernels.kv_layout import LayerPages, quantize_heads
from phi4mm.kernels.select import scatter

SCALE_BYTES = 4  # float32: int8 keys have one scale for each token and head, and so do int8 values


def token_bytes(config: TextConfig, dtype: torch.dtype) -> int:
    """Bytes of one token's keys and values over all layers."""
    scale = SCALE_BYTES if dtype == torch.int8 else 0
    return 2 * config.num_layers * config.num_kv_heads * (config.head_dim * dtype.itemsize + scale)


class PagedKVCache:
    """Keys and values (L, pages, page, K, E). On a CPU, pages that were never written to take no memory."""

    def __init__(
        self, config: TextConfig, *, pages: int, page_size: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        """dtype: the model's, or int8. One sequence alone can have a single page of its length; its table is (0,)."""
        shape = (config.num_layers, pages, page_size, config.num_kv_heads, config.head_dim)
        self.page_size = page_size
        self._keys = torch.empty(shape, device=device, dtype=dtype)
        self._values = torch.empty(shape, device=device, dtype=dtype)
        scaled = dtype == torch.int8
        self._key_scales = torch.empty(shape[:-1], device=device) if scaled else None
        self._value_scales = torch.empty(shape[:-1], device=device) if scaled else None

    def layer(self, layer: int) -> LayerPages:
        """Views of one layer."""
        if self._key_scales is None or self._value_scales is None:
            return LayerPages(self._keys[layer], self._values[layer], None, None)
        return LayerPages(self._keys[layer], self._values[layer], self._key_scales[layer], self._value_scales[layer])

    def write(self, layer: int, slots: Tensor, k_TKE: Tensor, v_TKE: Tensor) -> None:
        """Store T tokens' keys and values; slots (T,) int64: page number * page size + index in the page."""
        pages = self.layer(layer)
        _store(pages.keys, pages.key_scales, slots, k_TKE)
        _store(pages.values, pages.value_scales, slots, v_TKE)


def _store(pages: Tensor, scales: Tensor | None, slots: Tensor, x_TKE: Tensor) -> None:
    if scales is not None:
        x_TKE, scale_TK = quantize_heads(x_TKE)
        scales.flatten(0, 1).index_copy_(0, slots, scale_TK)
    scatter(pages.flatten(0, 1), slots, x_TKE)
