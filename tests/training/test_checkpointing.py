"""Gradient checkpointing changes memory and nothing else."""

from __future__ import annotations

import copy

import torch

from phi4mm.model.phi4mm import Phi4MM
from phi4mm.processing.processor import Processor
from phi4mm.training.checkpointing import checkpoint_layers
from phi4mm.training.collate import collate
from phi4mm.training.data import make_training_example
from phi4mm.training.sft import answer_loss
from tests.training.conftest import EXAMPLES


def test_gradients_with_checkpointing_equal_those_without(model: Phi4MM, processor: Processor) -> None:
    """Prevents layers that see other inputs the second time."""
    batch = collate([make_training_example(example, processor) for example in EXAMPLES.values()], 96)
    other = copy.deepcopy(model)
    checkpoint_layers(other)
    kept: list[int] = []
    grads = []
    for each in (model, other):
        count = 0

        def count_saved(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal count
            count += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count_saved, lambda tensor: tensor):
            loss = answer_loss(each, batch)
        loss.backward()
        kept.append(count)
        grads.append({name: p.grad for name, p in each.named_parameters() if p.grad is not None})
    assert kept[1] < kept[0] / 2
    assert grads[0].keys() == grads[1].keys()
    for name, gradient in grads[0].items():
        torch.testing.assert_close(gradient, grads[1][name], rtol=0, atol=1e-6)
