"""What `phi4mm bench` computes beside its timings: bytes and operations per token, and concurrent requests."""

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


def test_the_bytes_of_a_decode_step_are_those_of_the_checkpoints_parts() -> None:
    """Counting an adapter that the sequence does not use, or a tower, would raise the fraction of the ceiling."""
    folder = resolve("nano")
    parts = describe(folder)["parts"]
    model = load_model(folder, device="cpu", dtype=torch.float32)
    text = 4 * parts["text"]["parameters"]
    assert step_bytes(model, None) == text
    assert step_bytes(model, "vision") == text + 4 * parts["vision adapter"]["parameters"]
    assert step_bytes(model, "speech") == text + 4 * parts["speech adapter"]["parameters"]


def test_the_operations_of_a_prefill_are_those_that_torch_counts(tiny: Phi4MM) -> None:
    """A wrong formula would give a wrong fraction of the ceiling.

    The difference of two lengths is compared, so that the operations of the answers cancel. torch counts no attention
    on a CPU, so that of the formula is subtracted.
    """
    config = tiny.config.text
    counted = []
    for tokens in (64, 128):
        with FlopCounterMode(display=False) as counter:
            Speed(tiny).text(tokens, 2)
        counted.append(counter.get_total_flops())
    pairs = (128 * 129 - 64 * 65) // 2  # of a query and a key before it, with two products of width E each
    attention = config.num_layers * config.num_heads * pairs * 2 * 2 * config.head_dim
    assert counted[1] - counted[0] == prefill_flops(config, 128) - prefill_flops(config, 64) - attention


def test_concurrent_requests_share_steps(tiny: Phi4MM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise requests one after the other would be compared with the same."""
    outputs_per_step = []
    step = Engine.step

    def counting_step(self: Engine) -> Any:
        outputs = step(self)
        outputs_per_step.append(len(outputs))
        return outputs

    monkeypatch.setattr(Engine, "step", counting_step)
    result = Speed(tiny).concurrent(3, 4)
    assert max(outputs_per_step) == 3
    assert outputs_per_step.count(1) >= 3 * 4  # the requests that ran alone
    assert result.tok_s > 0


def test_of_two_measured_ceilings_the_higher_counts() -> None:
    """Other load on the machine lowers a measurement; the lower one would make the model's fraction look better."""
    assert Ceilings(10.0, 50.0).best(Ceilings(9.0, 60.0)) == Ceilings(10.0, 60.0)
