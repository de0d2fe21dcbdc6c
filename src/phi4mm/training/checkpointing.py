"""Gradient checkpointing: activations inside a layer are computed again in the backward pass instead of being kept."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from phi4mm.model.phi4mm import Phi4MM


def checkpoint_layers(model: Phi4MM) -> None:
    """Checkpoint every layer of the decoder and of the encoders, in place. Gradients stay the same."""
    layers: list[nn.Module] = list(model.text.layers)
    if model.image is not None:
        layers += model.image.tower.layers
    if model.audio is not None:
        layers += model.audio.encoder.blocks
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
