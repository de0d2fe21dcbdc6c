"""A linear layer with a packed weight.

O outputs, I inputs.
"""

from __future__ import annotations

from torch import Tensor, nn

from phi4mm.kernels.packed_weight import PackedWeight
from phi4mm.kernels.select import linear


class PackedLinear(nn.Module):
    """nn.Linear with a packed weight (O, I). The bias (O,) stays a parameter, so that `upcast_module` finds it."""

    def __init__(self, weight: PackedWeight, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.weight = weight
        self.register_parameter("bias", bias)
        self.bias: nn.Parameter | None

    def forward(self, x: Tensor) -> Tensor:
        """x (..., I) -> (..., O), in x's dtype."""
        y = linear(x, self.weight)
        return y if self.bias is None else y + self.bias
