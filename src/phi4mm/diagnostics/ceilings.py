"""The limits of a machine, and what a model needs: bytes read by a decode step, operations of a prefill.

Decode is bound by memory bandwidth and prefill by arithmetic, so a stream read and a large matrix product are measured.

S tokens of the prompt.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from phi4mm.config.model import TextConfig
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.protocol.inputs import Adapter

READ_BYTES = 2**30  # far more than any cache holds
PRODUCT = (512, 3072, 8192)  # rows, inputs, outputs
BEST_OF = 3
GB = 1e9


@dataclass(frozen=True)
class Ceilings:
    """The speed of this machine with all threads.

    The product is in floating point; integer products of packed weights may be faster, which gives fractions above 1.
    """

    read_gb_s: float
    product_gflop_s: float

    def best(self, other: Ceilings) -> Ceilings:
        """The larger of each of two measurements, because other load on the machine only lowers them."""
        return Ceilings(max(self.read_gb_s, other.read_gb_s), max(self.product_gflop_s, other.product_gflop_s))


def ceilings(device: torch.device) -> Ceilings:
    """A stream read of 1 GiB, and the faster of a float32 and a bfloat16 product."""
    block = torch.ones(READ_BYTES // 4, device=device)
    rows, inputs, outputs = PRODUCT
    products = []
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.ones(n, inputs, device=device, dtype=dtype) for n in (rows, outputs))
        products.append(_best(partial(torch.matmul, a, b.T), device))
    return Ceilings(READ_BYTES / _best(block.sum, device) / GB, 2 * rows * inputs * outputs / min(products) / GB)


def _best(work: Callable[[], torch.Tensor], device: torch.device) -> float:
    """Seconds of the fastest of BEST_OF runs: a ceiling is the best that the machine reaches, not an average."""
    seconds = []
    for _ in range(BEST_OF):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def step_bytes(model: Phi4MM, adapter: Adapter | None) -> int:
    """Bytes of weights that one decode step reads: the decoder with its tied head, and the sequence's adapter.

    Keys and values are not counted: 0.13 MB per cached token at the published sizes.
    """
    tensors = model.text.state_dict()
    return sum(
        tensor.numel() * tensor.element_size()
        for name, tensor in tensors.items()
        if not {"lora_a", "lora_b"} & set(name.split(".")) or (adapter is not None and adapter in name.split("."))
    )


def prefill_flops(config: TextConfig, tokens: int) -> int:
    """Floating-point operations of a text prompt's prefill: products, causal attention, the head at one position."""
    width, head = config.hidden_size, config.head_dim
    attended = (config.num_heads + 2 * config.num_kv_heads) * head + config.num_heads * head
    layer = width * attended + 3 * width * config.intermediate_size
    attention = config.num_heads * head * tokens * (tokens + 1)  # half of two S x S products per head
    return 2 * (config.num_layers * (tokens * layer + attention) + width * config.vocab_size)
