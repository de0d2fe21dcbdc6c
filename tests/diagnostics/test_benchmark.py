from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from phi4mm.checkpoint.hub import resolve
from phi4mm.checkpoint.load import load_model
from phi4mm.diagnostics.benchmark import Speed
from phi4mm.diagnostics.ceilings import Ceilings, prefill_flops, step_bytes
from phi4mm.diagnostics.inspect import describe
from phi4mm.engine.core import Engine
from phi4mm.model.phi4mm import Phi4MM


def test_the_bytes_of_a_step_are_those_that_the_checkpoint_tells() -> None:
    """Counting an adapter that the row has not, or a tower, would make decoding look nearer to its ceiling."""

    folder = resolve("nano")
    parts = describe(folder)["parts"]
    model = load_model(folder, device="cpu", dtype=torch.float32)
    text = 4 * parts["text"]["parameters"]
    assert step_bytes(model, None) == text
    assert step_bytes(model, "vision") == text + 4 * parts["vision adapter"]["parameters"]
    assert step_bytes(model, "speech") == text + 4 * parts["speech adapter"]["parameters"]


def test_the_operations_of_a_prefill_are_those_that_torch_counts(tiny: Phi4MM) -> None:
    """A formula that left a projection out would put prefill nearer to its ceiling. Two lengths, so that what each
    answer adds falls out; torch counts no attention on a CPU, so the formula's is taken off."""
    config = tiny.config.text
    counted = []
    for tokens in (64, 128):
        with FlopCounterMode(display=False) as counter:
            Speed(tiny).text(tokens, 2)
        counted.append(counter.get_total_flops())
    pairs = (128 * 129 - 64 * 65) // 2  # of a query and a key that it sees; two products of a head's width each
    attention = config.num_layers * config.num_heads * pairs * 2 * 2 * config.head_dim
    assert counted[1] - counted[0] == prefill_flops(config, 128) - prefill_flops(config, 64) - attention


def test_concurrent_requests_share_steps(tiny: Phi4MM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that ran one after the other would be compared with themselves."""
    together = []
    step = Engine.step

    def noting(self: Engine) -> Any:
        outputs = step(self)
        together.append(len(outputs))
        return outputs

    monkeypatch.setattr(Engine, "step", noting)
    found = Speed(tiny).together(3, 4)
    assert max(together) == 3
    assert together.count(1) >= 3 * 4  # those that ran alone
    assert found.tok_s > 0


def test_of_two_measured_ceilings_the_higher_counts() -> None:
    """A neighbour's load lowers a measurement; the lower one would praise the model for it."""
    assert Ceilings(10.0, 50.0).best(Ceilings(9.0, 60.0)) == Ceilings(10.0, 60.0)
