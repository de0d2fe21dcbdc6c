"""The weights of one LoRA adapter, apart from any model and any file.

O outputs, I inputs, R rank of a LoRA.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from phi4mm.config.model import AdapterConfig, TextConfig

Target: TypeAlias = "tuple[int, str]"  # layer number and projection that a LoRA adapts
PROJECTIONS = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")


@dataclass(frozen=True, eq=False)
class AdapterWeights:
    """One LoRA over any of the decoder's projections: y = W x + scaling * B(A(x)).

    layers   (A (R, I), B (O, R)) by target; a target that is absent is not adapted
    scaling  what B(A(x)) is multiplied by: alpha / R
    """

    layers: Mapping[Target, tuple[Tensor, Tensor]]
    scaling: float


def projection_sizes(text: TextConfig) -> dict[str, tuple[int, int]]:
    """(O, I) of each of PROJECTIONS."""
    width, heads = text.hidden_size, text.num_heads + 2 * text.num_kv_heads
    return {
        "qkv_proj": (heads * text.head_dim, width),
        "o_proj": (width, text.num_heads * text.head_dim),
        "gate_up_proj": (2 * text.intermediate_size, width),
        "down_proj": (width, text.intermediate_size),
    }


def new_adapter(text: TextConfig, config: AdapterConfig, generator: torch.Generator) -> AdapterWeights:
    """An adapter that changes nothing yet, over all projections: A random as in PEFT, B zero."""
    layers: dict[Target, tuple[Tensor, Tensor]] = {}
    for layer in range(text.num_layers):
        for projection, (outputs, inputs) in projection_sizes(text).items():
            bound = inputs**-0.5
            a = torch.empty(config.rank, inputs).uniform_(-bound, bound, generator=generator)
            layers[layer, projection] = (a, torch.zeros(outputs, config.rank))
    return AdapterWeights(layers, config.scaling)
