"""Attention, contiguous and over pages, against a plain implementation; and what pages store."""

from __future__ import annotations

import pytest
import torch

from phi4mm.kernels import reference
from phi4mm.kernels.cpu import library as native
from phi4mm.kernels.cpu import ops
from phi4mm.kernels.kv_layout import LayerPages, gather, quantize_heads
from phi4mm.kernels.select import causal_attention, decode_attention, prefill_attention
from phi4mm.model.kv import PagedKVCache, token_bytes
from phi4mm.model.phi4mm import Phi4MM

CPU = torch.device("cpu")


def textbook(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Query head h uses key/value head h // 3; each query attends to the keys up to its own position."""
    masked = torch.arange(len(k))[None] > torch.arange(len(q))[:, None] + len(k) - len(q)
    heads = []
    for head in range(6):
        scores = q[:, head] @ k[:, head // 3].T / 8**0.5
        heads.append(scores.masked_fill(masked, -torch.inf).softmax(-1) @ v[:, head // 3])
    return torch.stack(heads, 1)


@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (1, 9), (4, 9), (9, 9), (11, 12)])
def test_attention_equals_the_textbook(queries: int, keys: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finds a mask that is off by one, or wrong where a block of queries begins."""
    monkeypatch.setattr(reference, "QUERIES", 3)
    q, k, v = torch.randn(queries, 6, 8), torch.randn(keys, 2, 8), torch.randn(keys, 2, 8)
    assert torch.allclose(causal_attention(q, k, v), textbook(q, k, v), atol=1e-5)


def test_attention_over_whole_prompts_equals_the_textbook() -> None:
    """Only devices other than a CPU run it, so other tests on a CPU do not reach it."""
    q, k, v = torch.randn(9, 6, 8), torch.randn(9, 2, 8), torch.randn(9, 2, 8)
    assert torch.allclose(reference.square_causal_attention(q, k, v), textbook(q, k, v), atol=1e-5)


def paged(sequences: list[torch.Tensor], tables: list[list[int]]) -> torch.Tensor:
    """(pages, 4, 2, 8) with each sequence's tokens in the pages of its table, and NaN elsewhere."""
    pages = torch.full((12, 4, 2, 8), torch.nan)
    for sequence, table in zip(sequences, tables, strict=True):
        for n, token in enumerate(sequence):
            pages[table[n // 4], n % 4] = token
    return pages


def test_attention_over_scattered_pages_equals_attention_over_contiguous_keys() -> None:
    """Other pages, and slots past a sequence's end, must not be read: they may contain anything, even NaN."""
    lengths, tables = [9, 4, 1], [[7, 2, 5], [0, 0, 0], [11, 0, 0]]
    k, v = [torch.randn(n, 2, 8) for n in lengths], [torch.randn(n, 2, 8) for n in lengths]
    keys, values = paged(k, tables), paged(v, tables)
    indices = torch.tensor(tables, dtype=torch.int32), torch.tensor(lengths, dtype=torch.int32)
    q = torch.randn(3, 6, 8)
    out = decode_attention(q, LayerPages(keys, values, None, None), *indices)
    for n in range(3):
        assert torch.allclose(out[n], textbook(q[n : n + 1], k[n], v[n])[0], atol=1e-5), n
    q = torch.randn(6, 6, 8)
    prefilled = prefill_attention(q, LayerPages(keys, values, None, None), indices[0][:1], indices[1][:1])
    assert torch.allclose(prefilled, textbook(q, k[0], v[0]), atol=1e-5)


def test_int8_pages_are_within_half_a_step_of_each_heads_own_scale(tiny: Phi4MM) -> None:
    """With one scale for all heads, small ones would be lost; zeros must not be divided by zero."""
    x = torch.randn(10, 2, 16) * torch.tensor([1.0, 1000.0])[None, :, None]
    x[3] = 0
    q, scale = quantize_heads(x)
    assert ((q * scale[..., None] - x).abs() <= x.abs().amax(-1, keepdim=True) / 127 / 2 * 1.001).all()
    text = tiny.config.text
    cache = PagedKVCache(text, pages=4, page_size=4, device=CPU, dtype=torch.int8)
    slots = torch.tensor([12, 13, 14, 15, 0, 1, 2, 3, 8, 9])
    cache.write(1, slots, x, -x)
    layer = cache.layer(1)
    table = torch.tensor([3, 0, 2], dtype=torch.int32)
    keys, values = gather(layer, table, 10, torch.float32)
    assert torch.equal(keys, q * scale[..., None])
    assert torch.equal(values, -keys)
    stored = sum(t.numel() * t.element_size() for n in range(2) for t in cache.layer(n) if t is not None)
    assert stored == 16 * token_bytes(text, torch.int8), "the budget must count the memory that is allocated"


def test_writing_one_layer_does_not_change_the_others(tiny: Phi4MM) -> None:
    """A slot is the same index in every layer."""
    cache = PagedKVCache(tiny.config.text, pages=3, page_size=2, device=CPU, dtype=torch.float32)
    for layer in range(2):
        cache.write(layer, torch.arange(6), torch.full((6, 2, 16), float(layer)), torch.zeros(6, 2, 16))
    cache.write(0, torch.tensor([4]), torch.full((1, 2, 16), 9.0), torch.ones(1, 2, 16))
    assert cache.layer(1).keys.unique().tolist() == [1.0]
    assert cache.layer(0).keys[:, :, 0, 0].tolist() == [[0, 0], [0, 0], [9, 0]]
    assert cache.layer(0).values[2, 0].unique().tolist() == [1.0]


@pytest.mark.skipif(native.library() is None, reason=native.status().reason)
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.int8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_native_decode_attention_equals_the_reference(kind: torch.dtype, dtype: torch.dtype) -> None:
    """Sequences of one token, of whole blocks and of many, with scores that are far apart."""
    lengths = torch.tensor([1, 32, 33, 150], dtype=torch.int32)
    tables = torch.randperm(64).view(4, 16).int()
    q = (20 * torch.randn(4, 6, 40)).to(dtype)
    keys, values = torch.randn(64, 10, 2, 40), torch.randn(64, 10, 2, 40)
    scales: tuple[torch.Tensor | None, torch.Tensor | None] = (None, None)
    if kind == torch.int8:
        keys, key_scales = quantize_heads(keys.flatten(0, 1))
        values, value_scales = quantize_heads(values.flatten(0, 1))
        keys, values = keys.view(64, 10, 2, 40), values.view(64, 10, 2, 40)
        scales = key_scales.view(64, 10, 2), value_scales.view(64, 10, 2)
    keys, values = keys.to(kind), values.to(kind)
    k, v = (pages if kind == torch.int8 else pages.float() for pages in (keys, values))
    expected = reference.decode_attention(q.float(), LayerPages(k, v, *scales), tables, lengths)
    found = ops.decode_attention(q, LayerPages(keys, values, *scales), tables, lengths)
    bound = 2e-5 if dtype == torch.float32 else 0.02  # half a step of bfloat16 at the largest value, 4
    assert (found.float() - expected).abs().max() < bound
    for n in range(4):
        alone = ops.decode_attention(
            q[n : n + 1], LayerPages(keys, values, *scales), tables[n : n + 1], lengths[n : n + 1]
        )
        assert torch.equal(alone[0], found[n])
