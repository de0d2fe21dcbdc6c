"""The loss functions, compared with their definitions."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from phi4mm.training import losses


def test_multilabel_is_small_only_for_the_right_classes() -> None:
    """Prevents a loss that is small for any prediction."""
    logits = torch.tensor([[10.0, -10.0, 10.0]])
    assert losses.multilabel(logits, [(0, 2)]).item() < 0.01
    assert losses.multilabel(logits, [(1,)]).item() > 20
    assert losses.multilabel(logits.repeat(4, 1), [(0, 2)] * 4).item() == pytest.approx(
        losses.multilabel(logits, [(0, 2)]).item()
    )


def test_ctc_equals_the_sum_over_all_alignments() -> None:
    """Prevents another blank class, and counting tokens of the padding."""
    logits = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0))
    probabilities = logits[0, :3].softmax(-1)
    total = 0.0
    for path in itertools.product(range(3), repeat=3):
        collapsed = [label for label, _ in itertools.groupby(path) if label != losses.BLANK]
        if collapsed == [2, 1]:
            total += math.prod(probabilities[token, label].item() for token, label in enumerate(path))
    loss = losses.ctc(logits, torch.tensor([3]), [(2, 1)])
    assert loss.item() == pytest.approx(-math.log(total) / 2, rel=1e-5)


def test_a_target_longer_than_its_clip_has_loss_zero() -> None:
    """Prevents one truncated clip from making the loss, and then every weight, infinite."""
    assert losses.ctc(torch.randn(1, 2, 4), torch.tensor([2]), [(1, 2, 3)]).item() == 0


def test_tokens_without_a_label_carry_no_frame_loss() -> None:
    """Prevents padding from being trained as a class."""
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([[1, 2, -1], [4, -1, -1]])
    labelled = torch.stack([logits[0, 0], logits[0, 1], logits[1, 0]])
    expected = torch.nn.functional.cross_entropy(labelled, torch.tensor([1, 2, 4]))
    assert losses.frame_ce(logits, labels).item() == pytest.approx(expected.item())


def test_losses_of_16_bit_logits_are_computed_in_float32() -> None:
    """Prevents autocast from rounding a loss to three digits."""
    logits = torch.randn(6, 7, generator=torch.Generator().manual_seed(2)).bfloat16()
    loss = losses.cross_entropy(logits, torch.arange(6))
    assert loss.dtype == torch.float32
    assert loss.item() == losses.cross_entropy(logits.float(), torch.arange(6)).item()
    assert losses.multilabel(logits, [(0,)] * 6).dtype == torch.float32
    assert losses.ctc(logits[None], torch.tensor([6]), [(1,)]).dtype == torch.float32
