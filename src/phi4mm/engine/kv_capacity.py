"""How many tokens fit in how many bytes.

D model width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from phi4mm.config.engine import Limits
from phi4mm.errors import ConfigError
from phi4mm.machine import memory
from phi4mm.model.kv import token_bytes
from phi4mm.model.phi4mm import Phi4MM


@dataclass(frozen=True)
class Capacity:
    """Pages of keys and values, and as many encoder rows as tokens, so that whatever fits as tokens fits as media."""

    pages: int
    page_tokens: int
    cache_dtype: torch.dtype
    media_rows: int


def settle(limits: Limits, model: Phi4MM) -> tuple[Limits, Capacity, tuple[str, ...]]:
    """Limits with `cache_bytes` chosen, what fits in them, and the reason for the choice.

    raises  ConfigError when not even one page fits
    """
    text, weight = model.config.text, model.text.norm.weight
    dtype = torch.int8 if limits.cache_dtype == "int8" else weight.dtype
    encodes = model.image is not None or model.audio is not None
    row = text.hidden_size * weight.dtype.itemsize if encodes else 0
    page = limits.page_tokens * (token_bytes(text, dtype) + row)
    reasons: tuple[str, ...] = ()
    if limits.cache_bytes is None:
        free = free_bytes(weight.device)
        most = limits.max_rows * -(-text.rope.max_positions // limits.page_tokens) * page
        chosen = min(free // 2, most)
        limits = replace(limits, cache_bytes=chosen)
        why = f"half of the {free / 1e9:.1f} GB free" if chosen < most else f"{limits.max_rows} rows of full length"
        reasons = (f"cache_bytes {chosen}: {why}, {chosen // page * limits.page_tokens} tokens",)
    assert limits.cache_bytes is not None
    pages = limits.cache_bytes // page
    if pages == 0:
        raise ConfigError(
            f"cache_bytes is {limits.cache_bytes}; expected at least {page}, the bytes of one page of"
            f" {limits.page_tokens} tokens"
        )
    capacity = Capacity(pages, limits.page_tokens, dtype, pages * limits.page_tokens if row else 0)
    return limits, capacity, reasons


def free_bytes(device: torch.device) -> int:
    """Memory that could be taken now, in bytes; inside a container with a limit, what is left of that."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else memory().free
