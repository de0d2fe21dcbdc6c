"""Dropout before an adapter: in training mode alone, and for nobody else."""

from __future__ import annotations

import torch

from phi4mm.config.model import AdapterConfig
from phi4mm.model.lora import LoRALinear


def test_an_adapters_inputs_are_dropped_in_training_mode_alone() -> None:
    """As PEFT does: left out, a recipe with dropout trains something else; kept in inference, answers would vary."""
    torch.manual_seed(0)
    adapters = {"speech": AdapterConfig(4, 8.0, dropout=0.5), "vision": AdapterConfig(4, 8.0, dropout=0.0)}
    layer = LoRALinear(64, 32, adapters)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    x, everywhere = torch.randn(3, 64), slice(0, 3)
    layer.eval()
    plain = {name: layer(x, {name: everywhere}) for name in adapters}
    assert torch.equal(layer(x, {"speech": everywhere}), plain["speech"])
    layer.train()
    assert torch.equal(layer(x, {"vision": everywhere}), plain["vision"])
    assert torch.equal(layer(x, {}), layer.eval()(x, {}))
    layer.train()
    drawn = torch.stack([layer(x, {"speech": everywhere}) for _ in range(4000)])
    assert not torch.equal(drawn[0], drawn[1])
    spread = drawn.std(0) / 4000**0.5
    assert ((drawn.mean(0) - plain["speech"]).abs() < 6 * spread).all(), "the mean is the layer without dropout"
