"""The loss functions, compared with their definitions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

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


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_label_logprobs_and_their_gradients_equal_those_of_whole_logits(temperature: float) -> None:
    """Prevents an error in the backward pass, at the borders of the blocks of labels, or of the temperature."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(9, (2 * losses.LABELS_AT_ONCE + 7,), generator=generator)
    hidden = torch.randn(len(labels), 5, dtype=torch.float64, generator=generator)
    head, weights = (
        torch.randn(9, 5, dtype=torch.float64, generator=generator),
        torch.randn(len(labels), generator=generator),
    )
    results = []
    for compute in (losses.label_logprobs, whole_logprobs):
        inputs = [hidden.clone().requires_grad_(), head.clone().requires_grad_()]
        logprobs = compute(inputs[0], inputs[1], labels, temperature)
        (weights * logprobs).sum().backward()
        results.append([logprobs, *(tensor.grad for tensor in inputs)])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6, check_dtype=False)


def whole_logprobs(hidden: Tensor, head: Tensor, labels: Tensor, temperature: float) -> Tensor:
    return (hidden @ head.T / temperature).log_softmax(-1).gather(1, labels[:, None])[:, 0]


@pytest.mark.skipif(not hasattr(F, "linear_cross_entropy"), reason="torch 2.13 brought linear_cross_entropy")
def test_cross_entropy_equals_torchs_own_without_logits() -> None:
    """Prevents another loss, or another gradient, than torch's function of the same purpose."""
    generator = torch.Generator().manual_seed(4)
    hidden, head = (torch.randn(n, 16, generator=generator) for n in (700, 50))
    labels, grads = torch.randint(50, (700,), generator=generator), []
    for compute in (losses.cross_entropy, F.linear_cross_entropy):
        inputs = [hidden.clone().requires_grad_(), head.clone().requires_grad_()]
        loss: Tensor = compute(inputs[0], inputs[1], labels)
        loss.backward()
        grads.append([loss, *(tensor.grad for tensor in inputs)])
    for ours, expected in zip(*grads, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


def test_the_logits_of_many_labels_are_never_in_memory_at_once() -> None:
    """Prevents 4,096 labels over 200,064 tokens from taking 3.3 GB; here 8,192 over 4,096 take less than a tenth."""
    hidden, head = torch.randn(8192, 8, requires_grad=True), torch.randn(4096, 8, requires_grad=True)
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            largest = max([largest, *(t.numel() for t in tree_leaves(out) if isinstance(t, Tensor))])
            return out

    with Watch():  # type: ignore[no-untyped-call]
        losses.cross_entropy(hidden, head, torch.zeros(8192, dtype=torch.int64)).backward()
    assert 0 < largest <= losses.LABELS_AT_ONCE * 4096


def test_under_autocast_products_are_in_bfloat16_and_the_loss_in_float32() -> None:
    """Prevents autocast from rounding a loss to three digits, and products at a third of the speed."""
    hidden, head = torch.randn(6, 8, requires_grad=True), torch.randn(7, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        loss = losses.cross_entropy(hidden, head, torch.arange(6))
    loss.backward()
    rounded = F.linear(hidden.bfloat16(), head.bfloat16()).float()
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(
        F.cross_entropy(rounded, torch.arange(6)).item()
    )
    assert hidden.grad is not None and hidden.grad.dtype == torch.float32


def test_losses_of_16_bit_logits_are_computed_in_float32() -> None:
    """Prevents autocast from rounding a loss to three digits."""
    logits = torch.randn(6, 7, generator=torch.Generator().manual_seed(2)).bfloat16()
    assert losses.multilabel(logits, [(0,)] * 6).dtype == torch.float32
    assert losses.ctc(logits[None], torch.tensor([6]), [(1,)]).dtype == torch.float32
