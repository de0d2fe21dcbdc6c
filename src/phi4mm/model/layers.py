"""Norms, rotary tables and attention shared by the decoder and the towers.

T packed tokens, S tokens of one row, H query heads, K key/value heads, E head width, D model width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from phi4mm.config import RopeConfig


class RMSNorm(nn.Module):
    """x (..., D): normalised in float32, cast to x's dtype, then scaled (model.md 4.2)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        x32 = x.float()
        x32 = x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * x32.to(x.dtype)


class Rotary:
    """cos and sin of LongRoPE; holds no parameters, builds its two frequency vectors on first use of a device."""

    def __init__(self, rope: RopeConfig) -> None:
        self._scale = rope.attention_scale
        powers = torch.arange(0, rope.rotary_dim, 2, device="cpu").float() / rope.rotary_dim
        base = torch.tensor(rope.theta, device="cpu") ** powers
        self._short = 1.0 / (torch.tensor(rope.short_factor, device="cpu") * base)
        self._long = 1.0 / (torch.tensor(rope.long_factor, device="cpu") * base)

    def __call__(self, positions: Tensor, long: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """positions (T,) int64, long (T,) bool: rows past the switch -> cos, sin (T, 1, rotary) in `dtype`."""
        short_freqs, long_freqs = self._short.to(positions.device), self._long.to(positions.device)
        freqs = torch.where(long[:, None], long_freqs, short_freqs)
        angles = positions[:, None].float() * freqs
        angles = torch.cat([angles, angles], dim=-1)[:, None]  # (T, 1, rotary)
        return (angles.cos() * self._scale).to(dtype), (angles.sin() * self._scale).to(dtype)


def rotate(x_THE: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the first `rotary` dims of each head, pair i with i + rotary/2; the rest passes through."""
    width = cos.shape[-1]
    x, rest = x_THE[..., :width], x_THE[..., width:]
    low, high = x.chunk(2, dim=-1)
    turned = x * cos + torch.cat([-high, low], dim=-1) * sin
    return torch.cat([turned, rest], dim=-1)


def causal_attention(q_SHE: Tensor, k_SKE: Tensor, v_SKE: Tensor) -> Tensor:
    """One row's grouped-query attention; the S queries are the last of the keys' positions. Returns (S, H, E)."""
    queries, heads, _ = q_SHE.shape
    keys, kv_heads, _ = k_SKE.shape
    groups = heads // kv_heads
    k, v = k_SKE.transpose(0, 1), v_SKE.transpose(0, 1)  # (K, S, E)
    if queries == 1:
        # The heads of a group become queries of one head: keys and values are read once, and nothing is masked.
        q = q_SHE.view(kv_heads, groups, -1)
        out = F.scaled_dot_product_attention(q[None], k[None], v[None])
        return out.reshape(1, heads, -1)
    q = q_SHE.transpose(0, 1)
    k, v = k.repeat_interleave(groups, 0), v.repeat_interleave(groups, 0)
    mask = None
    if queries != keys:
        mask = torch.ones(queries, keys, dtype=torch.bool, device=q.device).tril(keys - queries)
    out = F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask, is_causal=mask is None)
    return out[0].transpose(0, 1)
