"""A linear layer whose adapter belongs to the row.

T packed tokens, R adapter rank.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from phi4mm.config import AdapterConfig
from phi4mm.kernels.linear import linear
from phi4mm.prompt import Adapter

AdapterRows = Mapping[Adapter, Tensor | slice]


class LoRALinear(nn.Module):
    """y = W x, plus scaling * B(A(x)) for the tokens of rows that carry an adapter (PEFT's unmerged form)."""

    def __init__(self, inputs: int, outputs: int, adapters: Mapping[Adapter, AdapterConfig]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.lora_a = nn.ParameterDict({n: nn.Parameter(torch.empty(a.rank, inputs)) for n, a in adapters.items()})
        self.lora_b = nn.ParameterDict({n: nn.Parameter(torch.empty(outputs, a.rank)) for n, a in adapters.items()})
        self._scaling = {name: adapter.scaling for name, adapter in adapters.items()}

    def forward(self, x: Tensor, rows: AdapterRows) -> Tensor:
        """x (T, in), rows: which of the T tokens run with which adapter -> (T, out)."""
        y = linear(x, self.weight)
        for name, index in rows.items():
            low = linear(x[index], self.lora_a[name])
            delta = linear(low, self.lora_b[name]) * self._scaling[name]
            if isinstance(index, slice):
                y = (
                    y + delta
                    if delta.shape == y.shape
                    else torch.cat([y[: index.start], y[index] + delta, y[index.stop :]])
                )
            else:
                y = y.index_add(0, index, delta)
        return y
