"""Muon: orthogonal updates of matrices, AdamW for the rest, and a state that resumes bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from phi4mm.errors import ConfigError
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.training.muon import UPDATE_SIZE, Muon, orthogonal
from phi4mm.training.optimizers import select_trainable


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 16, 48), (2, 48, 16)])
def test_an_orthogonal_update_keeps_the_directions_and_evens_the_sizes(shape: tuple[int, int, int]) -> None:
    """Prevents a transposed or diverging iteration: singular vectors stay, singular values come near 1."""
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    made = orthogonal(matrices)
    assert made.shape == shape and made.dtype == torch.float32
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    values = (u.mT @ made @ v.mT).diagonal(dim1=1, dim2=2)
    assert 0.6 < float(values.quantile(0.1)) < float(values.max()) < 1.3
    exact = u @ v
    assert float((made * exact).sum() / (made.norm() * exact.norm())) > 0.95


class Small(nn.Module):
    """An embedding, two layers of a matrix and a bias, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 8)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
        self.head = nn.Linear(8, 7)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embed(ids)
        for layer in self.layers:
            x = x + layer(x).tanh()
        out: torch.Tensor = self.head(x)
        return out


def test_matrices_of_layers_move_by_one_size_and_all_else_as_adamw_moves_it() -> None:
    """Prevents embeddings and heads in Muon, and a first step of another size than the learning rate says."""
    torch.manual_seed(0)
    module, plain = Small(), Small()
    plain.load_state_dict(module.state_dict())
    optimizer, reference = (
        Muon(module, weight_decay=0.0),
        torch.optim.AdamW(plain.parameters(), 0.01, (0.9, 0.95), 1e-8, 0),
    )
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    for model, rule in ((module, optimizer), (plain, reference)):
        model(torch.arange(7)).square().sum().backward()
        before = {name: value.detach().clone() for name, value in model.named_parameters()}
        rule.step()
    for (name, value), (_, other) in zip(module.named_parameters(), plain.named_parameters(), strict=True):
        if name in ("layers.0.weight", "layers.1.weight"):
            assert float((value - before[name]).detach().square().mean().sqrt()) == pytest.approx(
                0.01 * UPDATE_SIZE, rel=0.35
            )
        else:
            torch.testing.assert_close(value, other)


def test_muon_learns() -> None:
    """Prevents an update in the wrong direction."""
    torch.manual_seed(1)
    module, ids, wanted = Small(), torch.arange(7), torch.tensor([3, 1, 0, 6, 2, 5, 4])
    optimizer = Muon(module)
    for group in optimizer.param_groups:
        group["lr"] = 0.02
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(module(ids), wanted)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


def test_the_matrices_are_those_of_the_models_layers_without_lora_and_embeddings(model: Phi4MM) -> None:
    """Prevents LoRA, whose matrices are of low rank, and tied embeddings from orthogonal updates."""
    select_trainable(model, prefixes=("text", "image", "audio"), adapters=("speech",))
    matrices = {id(parameter) for parameter in Muon(model).param_groups[0]["params"]}
    names = [name for name, parameter in model.named_parameters() if id(parameter) in matrices]
    assert any(name.startswith("text.layers.0.") for name in names)
    assert not any("lora" in name or "embed" in name or "norm" in name for name in names)


def test_nothing_to_train_is_refused() -> None:
    """Prevents hours of training that change nothing."""
    with pytest.raises(ConfigError, match="nothing is trained"):
        Muon(Small().requires_grad_(False))
