"""When 16-bit weights are upcast to float32: on CPUs without a native bf16 matmul.

There, 16-bit products are five times slower than float32 ones, and 16-bit convolutions up to forty times (docs/log.md).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


def needs_upcast(weight: Tensor) -> bool:
    """Whether products with this weight are faster after upcasting it to float32."""
    return weight.dtype != torch.float32 and weight.device.type == "cpu" and not has_native_bf16()


def compute_dtype(weight: Tensor) -> torch.dtype:
    """The dtype in which a tower with weights like this one computes."""
    return torch.float32 if needs_upcast(weight) else weight.dtype


def upcast_module(module: nn.Module) -> Callable[..., Any]:
    """The module itself or, if its weights need an upcast, a function that calls it with float32 copies of them.

    The copies are in memory as long as the returned function is: upcast one block at a time.
    """
    weights = dict(module.named_parameters())
    if not any(needs_upcast(weight) for weight in weights.values()):
        return module
    copies = {name: weight.float() for name, weight in weights.items()}
    return lambda *args: functional_call(module, copies, args)


@functools.cache
def has_native_bf16() -> bool:
    """Whether this CPU multiplies 16-bit matrices in hardware (AVX-512 BF16 or AMX)."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
