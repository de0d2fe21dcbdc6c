"""Keys and values of one row.

S tokens of the row, K key/value heads, E head width, L layers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from phi4mm.config import TextConfig

GROW = 256  # tokens of capacity added at least


class RowCache:
    """The cached keys and values of one row: one (L, S, K, E) tensor each, grown as the row grows."""

    def __init__(self, config: TextConfig, *, device: torch.device, dtype: torch.dtype) -> None:
        shape = (config.num_layers, 0, config.num_kv_heads, config.head_dim)
        self._keys = torch.empty(shape, device=device, dtype=dtype)
        self._values = torch.empty(shape, device=device, dtype=dtype)
        self.length = 0

    def append(self, layer: int, k_SKE: Tensor, v_SKE: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values of one layer; returns that layer's (length + new, K, E) keys and values.

        The row's `length` moves on with `advance`, once every layer has stored its tokens.
        """
        end = self.length + k_SKE.shape[0]
        if end > self._keys.shape[1]:
            self._grow(max(end, self._keys.shape[1] * 3 // 2, GROW))
        self._keys[layer, self.length : end] = k_SKE
        self._values[layer, self.length : end] = v_SKE
        return self._keys[layer, :end], self._values[layer, :end]

    def advance(self, tokens: int) -> None:
        """Count `tokens` as cached: called once a forward pass."""
        self.length += tokens

    def clear(self) -> None:
        """Forget everything, as the LongRoPE switch demands; the memory is kept for the next prefill."""
        self.length = 0

    def _grow(self, capacity: int) -> None:
        for name in ("_keys", "_values"):
            old: Tensor = getattr(self, name)
            new = old.new_empty(old.shape[0], capacity, *old.shape[2:])
            new[:, : self.length] = old[:, : self.length]
            setattr(self, name, new)
