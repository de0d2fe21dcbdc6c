"""Operators of `select` that call other operators agree with their references."""

from __future__ import annotations

import pytest
import torch

from phi4mm.kernels import reference, select
from phi4mm.kernels.kv_layout import LayerPages
from phi4mm.kernels.packed_weight import pack


@pytest.mark.parametrize("rows", [1, 7, 40])
@pytest.mark.parametrize("bits", [None, 4, 8])
def test_add_linear_agrees_with_its_reference(rows: int, bits: int | None) -> None:
    """Packed products round activations to 8 or 16 bits, which gives the bounds."""
    torch.manual_seed(0)
    x, y, plain = torch.randn(rows, 128), torch.randn(rows, 48), torch.randn(48, 128)
    weight = plain if bits is None else pack(plain, 4 if bits == 4 else 8)
    expected = reference.add_linear(y.clone(), x, weight, 0.5)
    bound = {None: 1e-5, 8: 1e-4, 4: 0.02}[bits] * float(expected.abs().max())
    assert torch.allclose(select.add_linear(y.clone(), x, weight, 0.5), expected, atol=bound, rtol=0)


def test_prefill_attention_agrees_with_its_reference() -> None:
    """Queries are the last tokens of the sequence, whose pages are in any order."""
    torch.manual_seed(0)
    pages = LayerPages(torch.randn(6, 4, 2, 16), torch.randn(6, 4, 2, 16), None, None)
    tables, lengths = torch.tensor([[5, 1, 3]], dtype=torch.int32), torch.tensor([11], dtype=torch.int32)
    queries = torch.randn(7, 4, 16)
    expected = reference.prefill_attention(queries, pages, tables, lengths)
    assert torch.allclose(select.prefill_attention(queries, pages, tables, lengths), expected, atol=1e-5)
