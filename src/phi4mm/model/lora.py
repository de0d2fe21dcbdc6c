"""A linear layer whose adapter belongs to the row.

T packed tokens, R adapter rank.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from phi4mm.config.model import AdapterConfig
from phi4mm.kernels.layers import LinearWeights
from phi4mm.kernels.linear import add_linear, linear
from phi4mm.protocol.inputs import Adapter

AdapterRows = Mapping[Adapter, Tensor | slice]


class LoRALinear(nn.Module):
    """y = W x, plus scaling * B(A(x)) for the tokens of rows that carry an adapter (PEFT's unmerged form)."""

    def __init__(self, inputs: int, outputs: int, adapters: Mapping[Adapter, AdapterConfig]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.lora_a = nn.ParameterDict({n: nn.Parameter(torch.empty(a.rank, inputs)) for n, a in adapters.items()})
        self.lora_b = nn.ParameterDict({n: nn.Parameter(torch.empty(outputs, a.rank)) for n, a in adapters.items()})
        self._scaling = {name: adapter.scaling for name, adapter in adapters.items()}

    def weights(self) -> LinearWeights:
        """What C multiplies by; adapters in the order in which they were given."""
        factors = self._scaling.items()
        return LinearWeights(self.weight, tuple((self.lora_a[n], self.lora_b[n], factor) for n, factor in factors))

    def forward(self, x: Tensor, rows: AdapterRows) -> Tensor:
        """x (T, in), rows: which of the T tokens run with which adapter -> (T, out)."""
        y = linear(x, self.weight)
        for name, index in rows.items():
            part = y[index]
            low = linear(x[index], self.lora_a[name])
            added = add_linear(part, low, self.lora_b[name], self._scaling[name])
            if len(part) == len(y):
                y = added
            elif not isinstance(index, slice):
                y = y.index_copy(0, index, added)
            elif added is not part:  # else the view was changed in place
                y = torch.cat([y[: index.start], added, y[index.stop :]])
        return y
