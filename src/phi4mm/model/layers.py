"""Norms and rotary tables of the decoder.

T packed tokens, D model width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from phi4mm.config.model import RopeConfig
from phi4mm.kernels.select import rms_norm


class RMSNorm(nn.Module):
    """x (..., D): normalised in float32, cast to x's dtype, then scaled, as published."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        return rms_norm(x, self.weight, self.eps)


class Rotary:
    """cos and sin of LongRoPE. It has no parameters."""

    def __init__(self, rope: RopeConfig) -> None:
        self._scale = rope.attention_scale
        powers = torch.arange(0, rope.rotary_dim, 2, device="cpu").float() / rope.rotary_dim
        base = torch.tensor(rope.theta, device="cpu") ** powers
        self._short = 1.0 / (torch.tensor(rope.short_factor, device="cpu") * base)
        self._long = 1.0 / (torch.tensor(rope.long_factor, device="cpu") * base)

    def __call__(self, positions: Tensor, long: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """positions (T,) int64, long (T,) bool: which use the long factors -> cos, sin (T, 1, rotary) in `dtype`."""
        short_freqs, long_freqs = self._short.to(positions.device), self._long.to(positions.device)
        freqs = torch.where(long[:, None], long_freqs, short_freqs)
        angles = positions[:, None].float() * freqs
        angles = torch.cat([angles, angles], dim=-1)[:, None]  # (T, 1, rotary)
        return (angles.cos() * self._scale).to(dtype), (angles.sin() * self._scale).to(dtype)
