"""The norm, rotation, SwiGLU and scatter that `select` chooses agree with the references."""

from __future__ import annotations

import pytest
import torch

from phi4mm.kernels import reference, select
from phi4mm.kernels.cpu import library as native

DTYPES = [torch.float32, torch.bfloat16]
ROUNDING = {
    torch.float32: 2e-6,
    torch.bfloat16: 2**-7,
}  # relative: native kernels round once, references after each step


def assert_near(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert found.dtype == expected.dtype and found.shape == expected.shape
    scale = expected.float().abs() + expected.float().abs().mean()
    assert ((found.float() - expected.float()).abs() <= ROUNDING[found.dtype] * scale).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_norm_agrees_with_the_reference(dtype: torch.dtype) -> None:
    """Some rows are zeros, and some so large that their squares overflow 16 bits."""
    x = (torch.randn(5, 48) * torch.tensor([0.0, 1.0, 1e-4, 1e4, 3e5])[:, None]).to(dtype)
    weight = torch.randn(48).to(dtype)
    assert_near(select.rms_norm(x, weight, 1e-5), reference.rms_norm(x, weight, 1e-5))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tokens", [1, 20])
def test_rotation_agrees_with_the_reference_and_does_not_change_values(dtype: torch.dtype, tokens: int) -> None:
    """The last heads are values; dims past the rotary width, a quarter of each published head, do not change."""
    x = torch.randn(tokens, 7, 16).to(dtype)
    angles = torch.rand(tokens, 1, 6).repeat(1, 1, 2) * 6
    cos, sin = (1.19 * angles.cos()).to(dtype), (1.19 * angles.sin()).to(dtype)
    # In 64 bits: where two products nearly cancel, the reference's own rounding in 16 bits is the larger error.
    rotated = reference.rotate_heads(x.double(), 5, cos.double(), sin.double())
    found = select.rotate_heads(x.clone(), 5, cos, sin)
    assert_near(found, rotated.to(dtype))
    assert torch.equal(found[:, 5:], x[:, 5:])
    assert torch.equal(found[..., 12:], x[..., 12:])


def test_dim_i_is_rotated_with_dim_i_plus_half() -> None:
    """Adjacent dims as pairs, the other common convention, would have the same shapes."""
    x, cos, sin = torch.randn(3, 2, 16), torch.full((3, 1, 12), 0.5), torch.full((3, 1, 12), 0.1)
    out = reference.rotate_heads(x, 2, cos, sin)
    assert torch.allclose(out[0, 0, 0], 0.5 * x[0, 0, 0] - 0.1 * x[0, 0, 6])
    assert torch.allclose(out[0, 0, 6], 0.5 * x[0, 0, 6] + 0.1 * x[0, 0, 0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_swiglu_agrees_with_the_reference(dtype: torch.dtype) -> None:
    """Gates so far below zero that their exponential overflows must give zero, not NaN."""
    x = torch.randn(4, 96).to(dtype)
    x[0, :4] = torch.tensor([-200.0, 200.0, 0.0, -88.5])
    assert_near(select.swiglu(x), reference.swiglu(x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_tokens_of_a_strided_view_are_copied_to_their_slots(dtype: torch.dtype) -> None:
    """Keys are a slice of the fused projection, not a contiguous tensor."""
    pages = torch.zeros(9, 2, 8, dtype=dtype)
    x = torch.randn(3, 5, 8).to(dtype)[:, 1:3]
    select.scatter(pages, torch.tensor([7, 0, 4]), x)
    assert torch.equal(pages[[7, 0, 4]], x)
    assert not pages[[1, 2, 3, 5, 6, 8]].any()


@pytest.mark.skipif(native.library() is None, reason=native.status().reason)
@pytest.mark.parametrize("slot", [-1, 9])
def test_a_slot_outside_the_pages_is_an_assertion_error_and_nothing_is_written(slot: int) -> None:
    """Otherwise C code would overwrite other memory."""
    with pytest.raises(AssertionError, match="slots"):
        select.scatter(torch.zeros(9, 2, 8), torch.tensor([slot]), torch.ones(1, 2, 8))


def test_gradients_flow_through_the_operators() -> None:
    """Training uses the same functions."""
    x = torch.randn(2, 4, 8, requires_grad=True)
    cos, sin = torch.ones(2, 1, 8), torch.zeros(2, 1, 8)
    y = select.rotate_heads(x * 1, 3, cos, sin).flatten(1)
    select.swiglu(select.rms_norm(y, torch.ones(32, requires_grad=True), 1e-5)).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
