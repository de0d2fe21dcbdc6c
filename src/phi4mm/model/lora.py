"""A linear layer with any number of named adapters; each sequence of a batch runs with one of them or none.

T packed tokens, O outputs, I inputs, R rank of a LoRA.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from phi4mm.config.model import AdapterConfig
from phi4mm.kernels.packed_weight import PackedWeight
from phi4mm.kernels.rounding import is_worth_packing, pack_weight
from phi4mm.kernels.select import add_linear, linear
from phi4mm.model.adapter_weights import PROJECTIONS, AdapterWeights, Target
from phi4mm.protocol.inputs import Adapter

AdapterTokens = Mapping[Adapter, Tensor | slice]
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class NamedWeights(nn.Module):
    """Weights by name, plain or packed. Unlike nn.ParameterDict, it allows any name, `keys` and `train` among them."""

    def __getitem__(self, name: str) -> Tensor | PackedWeight:
        """The weight. Raises KeyError for an unknown name."""
        plain = self._parameters.get(name)
        if plain is not None:
            return plain
        packed = self._modules[name]
        assert isinstance(packed, PackedWeight)
        return packed

    def __setitem__(self, name: str, weight: nn.Parameter | PackedWeight) -> None:
        """Set the weight of that name, and replace the one that has it."""
        plain = isinstance(weight, nn.Parameter)
        (self._modules if plain else self._parameters).pop(name, None)
        if isinstance(weight, nn.Parameter):
            self._parameters[name] = weight
        else:
            self._modules[name] = weight

    def __delitem__(self, name: str) -> None:
        """Remove a weight. Raises KeyError for an unknown name."""
        (self._parameters if name in self._parameters else self._modules).pop(name)

    def __contains__(self, name: object) -> bool:
        """Whether there is a weight of that name."""
        return name in self._parameters or name in self._modules


class LoRALinear(nn.Module):
    """y = W x, plus scaling * B(A(x)) for the tokens whose sequence runs with an adapter (PEFT's unmerged form).

    scaling  by name of the adapter, for each that has matrices in this layer
    """

    def __init__(self, inputs: int, outputs: int, adapters: Mapping[Adapter, AdapterConfig]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.lora_a, self.lora_b = NamedWeights(), NamedWeights()
        self.scaling: dict[Adapter, float] = {}
        self._dropout: dict[Adapter, float] = {}
        for name, adapter in sorted(adapters.items()):
            self.lora_a[name] = nn.Parameter(torch.empty(adapter.rank, inputs))
            self.lora_b[name] = nn.Parameter(torch.empty(outputs, adapter.rank))
            self.scaling[name] = adapter.scaling
            self._dropout[name] = adapter.dropout

    def forward(self, x: Tensor, adapter_tokens: AdapterTokens) -> Tensor:
        """x (T, I), adapter_tokens: indices of the tokens that run with each adapter -> (T, O)."""
        y = linear(x, self.weight)
        for name, index in adapter_tokens.items():
            if name not in self.scaling:
                continue
            part = y[index]
            lora_hidden = linear(self._dropout_input(x[index], name), self.lora_a[name])
            added = add_linear(part, lora_hidden, self.lora_b[name], self.scaling[name])
            if len(part) == len(y):
                y = added
            elif not isinstance(index, slice):
                y = y.index_copy(0, index, added)
            elif added is not part:  # otherwise the view `part` of y was changed in place
                y = torch.cat([y[: index.start], added, y[index.stop :]])
        return y

    def add(self, name: Adapter, a: Tensor, b: Tensor, scaling: float, *, dtype: torch.dtype, trainable: bool) -> None:
        """Add copies of A (R, I) and B (O, R): in `dtype`, or packed if the base is packed and they are not trained."""
        base = self.weight if isinstance(self.weight, Tensor) else None
        device = self.weight.codes.device if base is None else base.device
        for weights, given in ((self.lora_a, a), (self.lora_b, b)):
            matrix = given.detach().to(device)
            if base is None and not trainable and is_worth_packing(matrix):
                weights[name] = pack_weight(matrix, self.weight.bits)
            else:
                plain = matrix.to(dtype, copy=True, memory_format=torch.contiguous_format)
                weights[name] = nn.Parameter(plain, requires_grad=trainable)
        self.scaling[name] = scaling

    def _dropout_input(self, x: Tensor, name: Adapter) -> Tensor:
        """The input of A. In training mode, the adapter's dropout is applied to it (PEFT's lora_dropout)."""
        dropout = self._dropout.get(name, 0.0)
        return F.dropout(x, dropout) if self.training and dropout else x

    def remove(self, name: Adapter) -> None:
        """Remove an adapter, if it has matrices here."""
        self._dropout.pop(name, None)
        if self.scaling.pop(name, None) is not None:
            del self.lora_a[name], self.lora_b[name]


def adapter_problems(weights: AdapterWeights, linears: Mapping[Target, LoRALinear]) -> Iterator[str]:
    """Why an adapter does not fit these linear layers, one sentence for each problem."""
    if not math.isfinite(weights.scaling):
        yield f"its scaling is {weights.scaling}; expected a finite number"
    if not weights.layers:
        yield "it has no matrices; expected A and B of at least one projection"
    layers = 1 + max(layer for layer, _ in linears)
    for (layer, projection), (a, b) in weights.layers.items():
        where = f"layer {layer} {projection}"
        if (layer, projection) not in linears:
            yield f"{where} is unknown; expected layers 0 to {layers - 1} and one of {', '.join(PROJECTIONS)}"
            continue
        outputs, inputs = linears[layer, projection].weight.shape
        if a.ndim != 2 or b.ndim != 2 or a.shape[1] != inputs or b.shape[0] != outputs or a.shape[0] != b.shape[1]:
            yield (
                f"{where} has A {tuple(a.shape)} and B {tuple(b.shape)};"
                f" expected (rank, {inputs}) and ({outputs}, rank)"
            )
        elif a.shape[0] == 0:
            yield f"{where} has rank 0; expected at least 1"
        elif not (a.is_floating_point() and b.is_floating_point()):
            yield f"{where} has A in {a.dtype} and B in {b.dtype}; expected floating-point numbers"
