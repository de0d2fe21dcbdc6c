"""All layers in one call of C say, bit for bit, what the layers say one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from phi4mm.config.engine import QUANTIZATIONS, Quantization
from phi4mm.engine.core import Engine
from phi4mm.kernels.cpu import library as native
from phi4mm.kernels.layers import LayersInC
from phi4mm.model.batch import ForwardBatch, Row
from phi4mm.model.kv import PagedCache
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.protocol.inputs import Prompt
from phi4mm.protocol.sampling import SamplingParams
from phi4mm.quantization.quantize import quantize_model
from tests.prompts import add

pytestmark = pytest.mark.skipif(native.library() is None, reason=native.status().reason)
CPU = torch.device("cpu")
ROWS = (  # tokens so far, adapter, pages: neighbours with one adapter, and rows between
    Row(20, 0, None, False, (1, 2)),
    Row(9, 0, "vision", False, (4,)),
    Row(40, 0, "vision", False, (5, 6)),
    Row(5, 0, "speech", False, (7,)),
    Row(3, 0, None, False, (8,)),
)


@pytest.fixture(scope="module")
def build(tiny: Phi4MM) -> Callable[[int, torch.dtype, Quantization | None], Phi4MM]:
    """A model of tiny's sizes with adapters of a rank that C knows, 32 or 16: half a group, or less and so unpacked."""

    def build(rank: int, dtype: torch.dtype, quantize: Quantization | None) -> Phi4MM:
        config = tiny.config
        assert config.vision_lora is not None
        assert config.speech_lora is not None
        loras = (replace(lora, rank=rank) for lora in (config.vision_lora, config.speech_lora))
        vision_lora, speech_lora = loras
        torch.manual_seed(1)
        model = Phi4MM(replace(config, vision_lora=vision_lora, speech_lora=speech_lora)).to(dtype).eval()
        for parameter in model.parameters():
            parameter.data.normal_(0, 0.1)
        return model if quantize is None else quantize_model(model, quantize)

    return build


def answer(model: Phi4MM, cache_dtype: torch.dtype, *, in_c: bool) -> tuple[Tensor, Tensor]:
    """Logits of three steps of five rows, and the keys they left."""
    cache = PagedCache(model.config.text, pages=10, page_tokens=32, device=CPU, dtype=cache_dtype)
    for layer in range(model.config.text.num_layers):
        for tensor in cache.layer(layer):
            if tensor is not None:
                tensor.zero_()
    layers = model.text.layers_in_c(cache) if in_c else None
    assert (layers is not None) == in_c
    found = []
    with torch.inference_mode():
        ids = torch.arange(sum(row.tokens for row in ROWS)) * 7 % 200
        model(ForwardBatch(ids, ROWS, torch.tensor([0]), cache=cache))
        for step in range(3):
            rows = tuple(replace(row, tokens=1, past=row.tokens + step) for row in ROWS)
            batch = ForwardBatch(torch.arange(5) + 3 * step, rows, torch.arange(5), cache=cache, layers_in_c=layers)
            found.append(model(batch))
    return torch.stack(found), torch.stack([cache.layer(n).keys for n in range(model.config.text.num_layers)])


@pytest.mark.parametrize("int8_keys", [False, True])
@pytest.mark.parametrize(
    ("rank", "dtype", "quantize"),
    [
        (16, torch.bfloat16, None),
        *((16, torch.bfloat16, scheme) for scheme in QUANTIZATIONS),
        *((32, dtype, scheme) for scheme in QUANTIZATIONS for dtype in (torch.float32, torch.bfloat16)),
    ],
)
def test_one_call_is_the_layers_one_by_one(
    build: Callable[[int, torch.dtype, Quantization | None], Phi4MM],
    rank: int,
    dtype: torch.dtype,
    quantize: Quantization | None,
    int8_keys: bool,
) -> None:
    """A busy step mixes prefill and decoding and runs the layers; a quiet one runs C: rows must not notice."""
    model = build(rank, dtype, quantize)
    cache_dtype = torch.int8 if int8_keys else dtype
    one_by_one, in_c = (answer(model, cache_dtype, in_c=flag) for flag in (False, True))
    assert torch.equal(one_by_one[0], in_c[0])
    assert torch.equal(one_by_one[1], in_c[1])


def test_what_c_does_not_know_runs_layer_by_layer(
    build: Callable[[int, torch.dtype, Quantization | None], Phi4MM],
) -> None:
    """float32 weights that are not packed, and ranks that are no multiple of 8."""
    for rank, dtype in ((16, torch.float32), (12, torch.bfloat16)):
        model = build(rank, dtype, None)
        cache = PagedCache(model.config.text, pages=2, page_tokens=32, device=CPU, dtype=dtype)
        assert model.text.layers_in_c(cache) is None


def test_the_engine_decodes_through_it(
    build: Callable[[int, torch.dtype, Quantization | None], Phi4MM], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fast path that is never taken would pass every other test."""

    calls: list[int] = []
    run = LayersInC.__call__

    def counted(self: LayersInC, x: Tensor, *rest: Any) -> Tensor:
        calls.append(len(x))
        return run(self, x, *rest)

    monkeypatch.setattr(LayersInC, "__call__", counted)
    engine = Engine(build(32, torch.bfloat16, "int4"), eos_ids=())
    for start in (3, 30):
        add(engine, Prompt(tuple(range(start, start + 9))), SamplingParams(max_tokens=5))
    while engine.busy:
        engine.step()
    assert calls == [2, 2, 2, 2]


def test_a_place_outside_all_pages_is_refused(
    build: Callable[[int, torch.dtype, Quantization | None], Phi4MM],
) -> None:
    """Written there, it would be another program's crash."""
    model = build(32, torch.bfloat16, "int4")
    cache = PagedCache(model.config.text, pages=2, page_tokens=32, device=CPU, dtype=torch.bfloat16)
    batch = ForwardBatch(
        torch.tensor([5]), (Row(1, 70, None, False, (0, 1, 7)),), torch.tensor([0]), cache=cache,
        layers_in_c=model.text.layers_in_c(cache),
    )  # fmt: skip
    with pytest.raises(AssertionError, match="slots"):
        model(batch)
