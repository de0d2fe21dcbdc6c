"""Rotary tables against written numbers, attention against a plain one, the cache as it grows."""

from __future__ import annotations

import json

import pytest
import torch

from phi4mm.config_files import from_original
from phi4mm.model.kv import GROW, RowCache
from phi4mm.model.layers import Rotary, causal_attention, rotate
from phi4mm.model.phi4mm import Phi4MM
from tests.conftest import GOLDEN


def test_rotary_angles_of_the_published_sizes_are_those_written_in_the_specification() -> None:
    """Angles at position 1 are the inverse frequencies; cos and sin carry 1.1902380714 in both modes."""
    rope = from_original(json.loads((GOLDEN / "published.json").read_text())).text.rope
    rotary = Rotary(rope)
    one = torch.tensor([1, 1])
    cos, sin = rotary(one, torch.tensor([False, True]), torch.float32)
    angles = torch.atan2(sin, cos)[:, 0]
    assert angles[0, 1].item() == pytest.approx(0.825404185, rel=1e-6)
    assert angles[0, 47].item() == pytest.approx(0.000121152766, rel=1e-5)
    assert angles[1, 1].item() == pytest.approx(0.738074692, rel=1e-6)
    assert angles[1, 47].item() == pytest.approx(2.53616843e-06, rel=1e-5)
    assert torch.hypot(cos, sin).flatten().tolist() == pytest.approx([1.1902380714238083] * 192, rel=1e-6)


def test_dims_past_the_rotary_width_pass_through() -> None:
    """A quarter of each published head is not rotated and not scaled."""
    x = torch.randn(3, 2, 16)
    cos, sin = torch.full((3, 1, 12), 0.5), torch.full((3, 1, 12), 0.1)
    out = rotate(x, cos, sin)
    assert torch.equal(out[..., 12:], x[..., 12:])
    assert torch.allclose(out[0, 0, 0], 0.5 * x[0, 0, 0] - 0.1 * x[0, 0, 6])
    assert torch.allclose(out[0, 0, 6], 0.5 * x[0, 0, 6] + 0.1 * x[0, 0, 0])


@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (1, 9), (4, 9), (9, 9)])
def test_attention_equals_the_textbook(queries: int, keys: int) -> None:
    """Head h reads group h // 3; the last query sees every key and the first all but the queries after it."""
    q, k, v = torch.randn(queries, 6, 8), torch.randn(keys, 2, 8), torch.randn(keys, 2, 8)
    out = causal_attention(q, k, v)
    for head in range(6):
        scores = q[:, head] @ k[:, head // 3].T / 8**0.5
        hidden = torch.arange(keys)[None] > torch.arange(queries)[:, None] + keys - queries
        expected = scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v[:, head // 3]
        assert torch.allclose(out[:, head], expected, atol=1e-5)


def test_the_cache_keeps_what_it_holds_when_it_grows(tiny: Phi4MM) -> None:
    """Growth copies: a row lost there would change every later token."""
    cache = RowCache(tiny.config.text, device=torch.device("cpu"), dtype=torch.float32)
    stored = torch.randn(GROW + 50, 2, 16)
    for start, end in ((0, 3), (3, GROW), (GROW, GROW + 50)):
        for layer in range(2):
            keys, values = cache.append(layer, stored[start:end] + layer, stored[start:end] - layer)
            assert torch.equal(keys, stored[:end] + layer)
            assert torch.equal(values, stored[:end] - layer)
        cache.advance(end - start)
    cache.clear()
    assert cache.append(0, stored[:1], stored[:1])[0].shape[0] == 1
