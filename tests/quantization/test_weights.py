"""Packed weights: their rounding errors, and the modules that use them.

O outputs, G groups of 64 inputs.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from phi4mm.kernels import precision
from phi4mm.kernels.packed_weight import Bits, PackedWeight, grouped, pack, unpack
from phi4mm.kernels.precision import upcast_module
from phi4mm.kernels.rounding import OUTPUTS_AT_ONCE, empty_weight, pack_weight
from phi4mm.kernels.select import linear
from phi4mm.quantization import embedding as embedding_module
from phi4mm.quantization.embedding import PackedEmbedding, unpack_rows
from phi4mm.quantization.linear import PackedLinear

BITS: tuple[Bits, ...] = (4, 8)
SHAPES = st.tuples(st.integers(1, 70), st.integers(1, 130))


def random_weight(outputs: int, inputs: int, seed: int) -> Tensor:
    """Weights with heavy tails and rows of very different magnitude, as trained weights have."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.exp(3 * torch.randn(outputs, 1, generator=generator))
    return sizes * torch.randn(outputs, inputs, generator=generator) ** 3


def group_error(weight: Tensor, packed: PackedWeight) -> tuple[Tensor, Tensor]:
    """(padded O, G, 64) float32: rounding errors, and the weights."""
    return grouped(unpack(packed) - weight), grouped(weight)


@given(SHAPES, st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_8_bits_are_within_half_a_step_of_the_weight(shape: tuple[int, int], seed: int) -> None:
    """Fails for codes in a wrong order or scales of another group. Scales in bf16 add 1/256 of the weight."""
    weight = random_weight(*shape, seed)
    error, weights = group_error(weight, pack_weight(weight, 8))
    step = weights.abs().amax(-1, keepdim=True) / 127
    assert bool((error.abs() <= step * (0.5 + 127 / 256) + 1e-30).all())


@given(SHAPES, st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_4_bits_leave_no_more_error_than_rounding_to_the_nearest(shape: tuple[int, int], seed: int) -> None:
    """The search for scales must not keep a worse candidate. Rounding to the nearest is within one step."""
    weight = random_weight(*shape, seed)
    error, weights = group_error(weight, pack_weight(weight, 4))
    nearest, _ = group_error(weight, pack(weight, 4))
    step = weights.abs().amax(-1, keepdim=True) / 8
    assert bool((nearest.abs() <= step * (1 + 8 / 256) + 1e-30).all())
    searched, plain = error.square().sum(-1), nearest.square().sum(-1)
    assert bool((searched <= plain * (1 + 1e-5) + 1e-30).all())


def test_the_search_for_scales_lowers_the_error() -> None:
    """By at least a twentieth for normally distributed weights; otherwise the search would not be worth its time."""
    weight = torch.randn(64, 512, generator=torch.Generator().manual_seed(3))
    searched = (unpack(pack_weight(weight, 4)) - weight).norm()
    assert searched < 0.95 * (unpack(pack(weight, 4)) - weight).norm()


@pytest.mark.parametrize("bits", BITS)
def test_packing_some_outputs_at_a_time_equals_packing_all(bits: Bits) -> None:
    """A last part of few outputs must get its own tiles, and an empty weight must have the same shapes."""
    weight = random_weight(OUTPUTS_AT_ONCE + 21, 40, 0)
    packed = pack_weight(weight, bits)
    first, rest = pack_weight(weight[:OUTPUTS_AT_ONCE], bits), pack_weight(weight[OUTPUTS_AT_ONCE:], bits)
    assert torch.equal(packed.codes, torch.cat([first.codes, rest.codes]))
    assert torch.equal(packed.scales, torch.cat([first.scales, rest.scales]))
    assert empty_weight(weight, bits, device="meta").codes.shape == packed.codes.shape


@pytest.mark.parametrize("bits", BITS)
def test_zero_rows_stay_zero(bits: Bits) -> None:
    """A group of zeros has the scale zero, and nothing may be divided by that."""
    weight = torch.zeros(17, 40)
    weight[3, 2] = 1.0
    found = unpack(pack_weight(weight, bits))
    assert torch.equal(found[weight == 0], weight[weight == 0])
    assert found[3, 2] == pytest.approx(1.0, rel=2**-7)


@pytest.mark.parametrize("bits", BITS)
def test_unpacked_rows_are_the_rows_of_the_unpacked_weight(bits: Bits, monkeypatch: pytest.MonkeyPatch) -> None:
    """Embeddings must equal the weight of the tied head; rows are unpacked in parts and in any order."""
    monkeypatch.setattr(embedding_module, "ROWS_AT_ONCE", 4)
    packed = pack_weight(random_weight(37, 72, 1), bits)
    ids = torch.tensor([36, 0, 7, 8, 15, 16, 8, 31, 32])
    assert torch.equal(unpack_rows(packed, ids), unpack(packed)[ids])
    assert torch.equal(PackedEmbedding(packed, torch.bfloat16)(ids), unpack(packed)[ids].bfloat16())


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_packed_layer_equals_the_packed_product_and_the_bias(bits: Bits, dtype: torch.dtype) -> None:
    """The bias must not be lost or change the dtype of activations, and the product is that of the decoder."""
    plain = nn.Linear(72, 37).to(dtype)
    packed = pack_weight(plain.weight.detach(), bits)
    x = torch.randn(5, 72, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert torch.equal(PackedLinear(packed, None)(x), linear(x, packed))
    found = PackedLinear(packed, plain.bias)(x)
    assert found.dtype == dtype
    assert torch.equal(found, linear(x, packed) + plain.bias)
    assert torch.allclose(found, plain(x), atol=0.25 if bits == 4 else 0.05)


def test_an_upcast_block_with_packed_layers_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Towers upcast their blocks: norms and biases are copied to float32, packed weights are shared and unchanged."""
    monkeypatch.setattr(precision, "has_native_bf16", lambda: False)
    linears = [nn.Linear(64, 48), nn.Linear(48, 40)]
    plain = nn.Sequential(nn.LayerNorm(64), linears[0], nn.GELU(), linears[1]).to(torch.bfloat16)
    packed = [PackedLinear(pack_weight(layer.weight.detach(), 8), layer.bias) for layer in linears]
    block = nn.Sequential(plain[0], packed[0], plain[2], packed[1])
    x = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    out = upcast_module(block)(x)
    assert out.dtype == torch.float32
    assert torch.allclose(out, upcast_module(plain)(x), atol=0.02)
    assert [p.weight.scales.dtype for p in packed] == [torch.bfloat16] * 2
