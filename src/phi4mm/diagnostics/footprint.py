"""The memory that a model needs, computed from its configuration alone."""

from __future__ import annotations

import torch

from phi4mm.checkpoint.contents import skeleton
from phi4mm.config.engine import QUANTIZATIONS
from phi4mm.config.model import Phi4MMConfig, TextConfig
from phi4mm.model.kv import token_bytes
from phi4mm.quantization.quantize import make_empty

FLOATS = (torch.float32, torch.bfloat16)


def weight_bytes(config: Phi4MMConfig) -> dict[str, int]:
    """Bytes of all weights by precision; with int8 and int4, weights that are not packed stay in bfloat16."""
    models = {_name(dtype): skeleton(config).to(dtype) for dtype in FLOATS}
    models |= {scheme: make_empty(skeleton(config).to(torch.bfloat16), scheme) for scheme in QUANTIZATIONS}
    return {name: sum(tensor.nbytes for tensor in model.state_dict().values()) for name, model in models.items()}


def kv_cache_bytes(text: TextConfig) -> dict[str, int]:
    """Bytes of one token's keys and values by their dtype."""
    return {_name(dtype): token_bytes(text, dtype) for dtype in (*FLOATS, torch.int8)}


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
