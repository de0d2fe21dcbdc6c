"""Rotary tables against the numbers of docs/numerics.md."""

from __future__ import annotations

import json

import pytest
import torch

from phi4mm.config.original import from_original
from phi4mm.model.layers import Rotary
from tests.conftest import GOLDEN


def test_rotary_angles_of_the_published_sizes_are_those_of_the_documentation() -> None:
    """Angles at position 1 are the frequencies; cos and sin have the factor 1.1902380714 with both kinds of factors."""
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
