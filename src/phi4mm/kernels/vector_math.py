"""First use, on one thread, of the libraries that torch calls from several threads at once.

torch computes `cos`, `exp`, `log` and the like with MKL's vector library. The first call in a process selects the code
for this processor. When several threads make that call at once, one of them can get values that are off by 1.8e-4
(torch 2.13, docs/log.md). Attention calls matrix products from its threads, dropout random numbers, in the same way.
`kernels.select` calls `initialize` when it is imported, before any model computes.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

# Those of ATen's kernels that call the library (aten/src/ATen/native/cpu/UnaryOpsKernel.cpp).
FUNCTIONS = (
    torch.acos, torch.asin, torch.atan, torch.ceil, torch.cos, torch.cosh, torch.erf, torch.erfc, torch.erfinv,
    torch.exp, torch.expm1, torch.floor, torch.lgamma, torch.log, torch.log10, torch.log1p, torch.log2, torch.round,
    torch.rsqrt, torch.sin, torch.sinh, torch.sqrt, torch.tan, torch.tanh, torch.trunc,
)  # fmt: skip
VALUES = 64  # more than a vector register holds, far fewer than torch would give to a second thread


@torch.no_grad()
def initialize() -> None:
    """Call each function, a matrix product, attention and dropout's numbers once, all on the calling thread."""
    for dtype in (torch.float32, torch.float64):
        x = torch.full((VALUES,), 0.5, dtype=dtype, device="cpu")
        for function in FUNCTIONS:
            function(x)
        torch.mm(x[:1, None], x[None, :1])
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.ones(1, 1, 8, 8, dtype=dtype, device="cpu")
        F.scaled_dot_product_attention(x, x, x)
    torch.empty(VALUES, device="cpu").bernoulli_(0.5, generator=torch.Generator())  # leaves the global generator alone
