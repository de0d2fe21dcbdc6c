"""Matrix products in torch, and when they upcast weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from phi4mm.kernels import panels, precision
from phi4mm.kernels.precision import compute_dtype, needs_upcast, upcast_module
from phi4mm.kernels.select import FEW_ROWS, linear


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_product_by_panels_is_the_float32_product_rounded_once(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finds panels in a wrong order, or a second rounding; 50 outputs are three panels of 20."""
    monkeypatch.setattr(panels, "PANEL", 20)
    x, weight = torch.randn(9, 33).to(dtype), torch.randn(50, 33).to(dtype)
    expected = F.linear(x.float(), weight.float()).to(dtype)
    assert torch.allclose(panels.float32_linear(x, weight), expected, rtol=0.01)
    assert (panels.float32_linear(x, weight) == expected).float().mean() > 0.99


def test_few_rows_and_float32_weights_are_not_upcast(monkeypatch: pytest.MonkeyPatch) -> None:
    """With few rows, the time is that of reading the weight, and an upcast would only add to it."""
    monkeypatch.setattr(panels, "float32_linear", lambda x, weight: pytest.fail("the weight was upcast"))
    x, weight = torch.randn(FEW_ROWS - 1, 33), torch.randn(50, 33)
    linear(x.bfloat16(), weight.bfloat16())
    linear(torch.randn(64, 33), weight)


def test_an_upcast_block_computes_in_float32_and_keeps_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """This is for CPUs without a native bf16 matmul. The block's own weights must stay in 16 bits."""
    monkeypatch.setattr(precision, "has_native_bf16", lambda: False)
    block = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 3)).to(torch.bfloat16)
    x = torch.randn(4, 8)
    out = upcast_module(block)(x)
    assert out.dtype == torch.float32
    assert torch.allclose(out, nn.Sequential(*block).float()(x), atol=1e-6)


def test_with_a_native_bf16_matmul_nothing_is_upcast(monkeypatch: pytest.MonkeyPatch) -> None:
    """There, the 16-bit product is faster."""
    monkeypatch.setattr(precision, "has_native_bf16", lambda: True)
    weight = torch.zeros(2, 2, dtype=torch.bfloat16)
    block = nn.Linear(2, 2).to(torch.bfloat16)
    assert not needs_upcast(weight)
    assert compute_dtype(weight) == torch.bfloat16
    assert upcast_module(block) is block
