"""Matrix product with a weight: the reference is torch's own, the fast twin widens the weight a panel at a time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from phi4mm.kernels.widen import widens

FEW_ROWS = 8  # below this the product is bound by reading the weight, and 16-bit reads half as much
PANEL = 2048  # output features widened at a time: 24 MB at width 3072


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x (..., in) @ weight (out, in).T -> (..., out), in x's dtype."""
    if x.numel() < FEW_ROWS * x.shape[-1] or not widens(weight):
        return F.linear(x, weight)
    return linear_by_panels(x, weight)


def linear_by_panels(x: Tensor, weight: Tensor) -> Tensor:
    """The same product in float32, rounded once to x's dtype; holds PANEL rows of the weight in float32 at a time."""
    x32 = x.float()
    panels = [F.linear(x32, panel.float()).to(x.dtype) for panel in weight.split(PANEL)]
    return panels[0] if len(panels) == 1 else torch.cat(panels, dim=-1)
