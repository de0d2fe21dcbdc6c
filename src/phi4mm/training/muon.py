"""Muon: a matrix moves by its momentum made orthogonal (Jordan and others, 2024); everything else learns by AdamW.

The update of a matrix has the size of one of AdamW (arXiv:2502.16982, equation 4, with another factor): one learning
rate fits both.

n matrices of one shape, R rows, C columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from phi4mm.errors import ConfigError
from phi4mm.kernels.precision import has_native_bf16

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of the polynomial that brings singular values near 1
ITERATIONS = 5
UPDATE_SIZE = 0.4  # root mean square of a matrix's update, over the learning rate
EPS = 1e-8


class Muon(torch.optim.Optimizer):
    """Muon for the matrices of a module's layers, AdamW for its other trained parameters.

    Embeddings, heads, norms, convolutions and LoRA are not matrices of layers. Groups of parameters are read by the
    Trainer, which sets their learning rates.

    weight_decay  of both
    momentum      of matrices (Nesterov's)
    betas         of AdamW
    raises        ConfigError when nothing is trained
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.95),
    ) -> None:
        trained = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
        matrices = [parameter for name, parameter in trained if _is_matrix_of_a_layer(name, parameter)]
        others = [parameter for name, parameter in trained if not _is_matrix_of_a_layer(name, parameter)]
        groups = [{"params": part, "orthogonal": part is matrices} for part in (matrices, others) if part]
        if not groups:
            raise ConfigError("nothing is trained; choose parameters first")
        self._momentum, self._betas = momentum, betas
        super().__init__(groups, {"lr": 1e-3, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step; a parameter without a gradient stays as it is."""
        for group in self.param_groups:
            learned = [parameter for parameter in group["params"] if parameter.grad is not None]
            take = self._step_orthogonal if group["orthogonal"] else self._step_adamw
            take(learned, group["lr"], group["weight_decay"])

    def _step_orthogonal(self, matrices: list[nn.Parameter], rate: float, decay: float) -> None:
        for members in _by_shape(matrices):
            moved = []
            for matrix in members:
                assert matrix.grad is not None
                moment = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
                moment.lerp_(matrix.grad, 1 - self._momentum)
                moved.append(matrix.grad.lerp(moment, self._momentum))
            size = rate * UPDATE_SIZE * max(members[0].shape) ** 0.5
            for matrix, change in zip(members, orthogonal(torch.stack(moved)), strict=True):
                matrix.mul_(1 - rate * decay).sub_(change, alpha=size)

    def _step_adamw(self, parameters: list[nn.Parameter], rate: float, decay: float) -> None:
        states = [self.state[parameter] for parameter in parameters]
        for parameter, state in zip(parameters, states, strict=True):
            if not state:
                state["step"] = torch.zeros((), device=parameter.device)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        first, second, steps = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step"))
        adamw(
            [*parameters], gradients, first, second, [], steps, fused=True, amsgrad=False, beta1=self._betas[0],
            beta2=self._betas[1], lr=rate, weight_decay=decay, eps=EPS, maximize=False,
        )  # fmt: skip


def orthogonal(matrices: Tensor) -> Tensor:
    """(n, R, C) -> the same with singular values near 1, about 0.7 to 1.2, by Newton and Schulz's iterations.

    The products run in bfloat16 where the processor has it: their errors are smaller than that range.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + EPS)
    if has_native_bf16() and x.device.type == "cpu":
        x = x.bfloat16()
    first, third, fifth = NEWTON_SCHULZ
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = first * x + (third * square + fifth * square @ square) @ x
    return (x.mT if tall else x).to(matrices.dtype)


def _is_matrix_of_a_layer(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is a matrix of one of several layers, which are numbered; no embedding and no LoRA."""
    inside = re.search(r"\.\d+\.", name) is not None
    return inside and parameter.dim() == 2 and "embed" not in name and ".lora_" not in name


def _by_shape(matrices: list[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    shapes: dict[torch.Size, list[nn.Parameter]] = {}
    for matrix in matrices:
        shapes.setdefault(matrix.shape, []).append(matrix)
    yield from shapes.values()
