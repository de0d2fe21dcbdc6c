"""Plans the memory for keys, values and encoder outputs: how many tokens fit in how many bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from phi4mm.config.engine import EngineArgs
from phi4mm.errors import ConfigError
from phi4mm.machine import memory
from phi4mm.model.kv import token_bytes
from phi4mm.model.phi4mm import Phi4MM


@dataclass(frozen=True)
class KVCapacity:
    """How many pages of keys and values fit. The encoder cache holds as many tokens as the pages; 0 without towers."""

    pages: int
    page_size: int
    kv_cache_dtype: torch.dtype
    encoder_tokens: int


def plan_kv_cache(engine_args: EngineArgs, model: Phi4MM) -> tuple[EngineArgs, KVCapacity, tuple[str, ...]]:
    """Engine arguments with `kv_cache_bytes` chosen, what fits in that memory, and the reason for the choice.

    raises  ConfigError when not even one page fits
    """
    text, weight = model.config.text, model.text.norm.weight
    dtype = torch.int8 if engine_args.kv_cache_dtype == "int8" else weight.dtype
    encodes = model.image is not None or model.audio is not None
    encoder_token = text.hidden_size * weight.dtype.itemsize if encodes else 0
    page = engine_args.page_size * (token_bytes(text, dtype) + encoder_token)
    reasons: tuple[str, ...] = ()
    if engine_args.kv_cache_bytes is None:
        free = free_bytes(weight.device)
        limit = engine_args.max_num_seqs * -(-text.rope.max_positions // engine_args.page_size) * page
        chosen = min(free // 2, limit)
        engine_args = replace(engine_args, kv_cache_bytes=chosen)
        reason = (
            f"half of the {free / 1e9:.1f} GB free"
            if chosen < limit
            else f"{engine_args.max_num_seqs} sequences of full length"
        )
        reasons = (f"kv_cache_bytes {chosen}: {reason}, {chosen // page * engine_args.page_size} tokens",)
    assert engine_args.kv_cache_bytes is not None
    pages = engine_args.kv_cache_bytes // page
    if pages == 0:
        raise ConfigError(
            f"kv_cache_bytes is {engine_args.kv_cache_bytes}; expected at least {page}, the bytes of one page of"
            f" {engine_args.page_size} tokens"
        )
    capacity = KVCapacity(pages, engine_args.page_size, dtype, pages * engine_args.page_size if encoder_token else 0)
    return engine_args, capacity, reasons


def free_bytes(device: torch.device) -> int:
    """Free memory of the device in bytes; on the CPU within the limit of a container."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else memory().free
