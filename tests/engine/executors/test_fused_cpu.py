"""The fused decoder gives the same bits as the layers one by one, and detects weights that change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from phi4mm.config.engine import QUANTIZATIONS, Quantization
from phi4mm.engine.core import Engine
from phi4mm.engine.executors.eager import EagerExecutor
from phi4mm.engine.executors.executor import Executor
from phi4mm.engine.executors.fused_cpu import FusedCPUExecutor
from phi4mm.kernels.cpu import library as native
from phi4mm.kernels.cpu.decoder import NativeDecoder
from phi4mm.kernels.rounding import pack_weight
from phi4mm.model.adapter_weights import PROJECTIONS, AdapterWeights, projection_sizes
from phi4mm.model.batch import BatchedSequence, ForwardBatch
from phi4mm.model.kv import PagedKVCache
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.protocol.inputs import Prompt
from phi4mm.protocol.sampling import SamplingParams
from phi4mm.quantization.quantize import quantize_model, replace_weight
from tests.prompts import add

pytestmark = pytest.mark.skipif(native.library() is None, reason=native.status().reason)
CPU = torch.device("cpu")
Build = Callable[[int, torch.dtype, Quantization | None], Phi4MM]
SEQUENCES = (  # tokens so far, adapter, pages: the same adapter on adjacent sequences and on separate ones
    BatchedSequence(20, 0, None, False, (1, 2)),
    BatchedSequence(9, 0, "vision", False, (4,)),
    BatchedSequence(40, 0, "vision", False, (5, 6)),
    BatchedSequence(5, 0, "speech", False, (7,)),
    BatchedSequence(3, 0, None, False, (8,)),
)
SCHEMES = [(torch.bfloat16, None), (torch.bfloat16, "int8"), (torch.bfloat16, "int4"), (torch.float32, "int4")]


@pytest.fixture(scope="module")
def build(tiny: Phi4MM) -> Build:
    """A model of tiny's sizes with adapters of one rank: 32 (half a group) can be packed, 16 stays unpacked."""

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


def new_cache(model: Phi4MM, dtype: torch.dtype) -> PagedKVCache:
    """Pages of zeros, so that the pages of two runs can be compared."""
    cache = PagedKVCache(model.config.text, pages=10, page_size=32, device=CPU, dtype=dtype)
    for layer in range(model.config.text.num_layers):
        for tensor in cache.layer(layer):
            if tensor is not None:
                tensor.zero_()
    return cache


def prefill(model: Phi4MM, cache: PagedKVCache, sequences: tuple[BatchedSequence, ...] = SEQUENCES) -> None:
    """Each sequence's first tokens, alone: products of many rows may round differently from those of few rows."""
    for sequence in sequences:
        ids = (torch.arange(sequence.tokens) + 11 * sequence.pages[0]) * 7 % 200
        model(ForwardBatch(ids, (sequence,), torch.tensor([0]), cache=cache))


def decode_batch(cache: PagedKVCache, step: int, sequences: tuple[BatchedSequence, ...] = SEQUENCES) -> ForwardBatch:
    """One more token of each sequence."""
    ids = torch.tensor([sequence.pages[0] + 3 * step for sequence in sequences])
    sequences = tuple(replace(sequence, tokens=1, past=sequence.tokens + step) for sequence in sequences)
    return ForwardBatch(ids, sequences, torch.arange(len(sequences)), cache=cache)


def answer(
    model: Phi4MM, kv_cache_dtype: torch.dtype, *, fused: bool, sequences: tuple[BatchedSequence, ...] = SEQUENCES
) -> tuple[Tensor, Tensor]:
    """Logits of three decode steps of the sequences, and the keys in the cache afterwards."""
    cache = new_cache(model, kv_cache_dtype)
    executor: Executor = FusedCPUExecutor(model, cache) if fused else EagerExecutor(model)
    logits = []
    with torch.inference_mode():
        prefill(model, cache, sequences)
        for step in range(3):
            batch = decode_batch(cache, step, sequences)
            assert executor.accepts(batch)
            logits.append(executor.run(batch))
    return torch.stack(logits), torch.stack([cache.layer(n).keys for n in range(model.config.text.num_layers)])


def adapter(model: Phi4MM, rank: int, seed: int, *, only: tuple[int, str] | None = None) -> AdapterWeights:
    """A LoRA over every projection, or over one alone."""
    generator = torch.Generator().manual_seed(seed)
    sizes = projection_sizes(model.config.text)
    layers = {
        (n, name): (
            torch.randn(rank, sizes[name][1], generator=generator) / 4,
            torch.randn(sizes[name][0], rank, generator=generator) / 4,
        )
        for n in range(model.config.text.num_layers)
        for name in PROJECTIONS
        if only in (None, (n, name))
    }
    return AdapterWeights(layers, 0.5)


@pytest.mark.parametrize("int8_keys", [False, True])
@pytest.mark.parametrize(
    ("rank", "dtype", "quantize"),
    [
        (16, torch.bfloat16, None),
        *((16, torch.bfloat16, scheme) for scheme in QUANTIZATIONS),
        *((32, dtype, scheme) for scheme in QUANTIZATIONS for dtype in (torch.float32, torch.bfloat16)),
    ],
)
def test_the_fused_decoder_equals_the_layers_one_by_one(
    build: Build, rank: int, dtype: torch.dtype, quantize: Quantization | None, int8_keys: bool
) -> None:
    """A step with prefill runs the layers, a decode step the fused decoder: a sequence must get the same answer."""
    model = build(rank, dtype, quantize)
    kv_cache_dtype = torch.int8 if int8_keys else dtype
    eager, fused = (answer(model, kv_cache_dtype, fused=flag) for flag in (False, True))
    assert torch.equal(eager[0], fused[0])
    assert torch.equal(eager[1], fused[1])


@pytest.mark.parametrize(("dtype", "quantize"), SCHEMES)
def test_any_number_of_adapters_of_any_rank_and_targets_run_together(
    build: Build, dtype: torch.dtype, quantize: Quantization | None
) -> None:
    """Finds a limit of two adapters, one rank for all, and a target without the adapter read as an address."""
    model = build(32, dtype, quantize)
    model.add_adapter("wide", adapter(model, 64, 2))
    model.add_adapter("narrow", adapter(model, 40, 3, only=(1, "down_proj")))
    names = ("narrow", "wide", None, "speech", "vision")
    sequences = tuple(replace(sequence, adapter=name) for sequence, name in zip(SEQUENCES, names, strict=True))
    eager, fused = (answer(model, dtype, fused=flag, sequences=sequences) for flag in (False, True))
    assert torch.equal(eager[0], fused[0])
    assert torch.equal(eager[1], fused[1])
    for n, sequence in enumerate(sequences):
        assert torch.equal(answer(model, dtype, fused=True, sequences=(sequence,))[0][:, 0], fused[0][:, n]), (
            sequence.adapter
        )
    without = tuple(replace(sequence, adapter=None) for sequence in sequences)
    plain = answer(model, dtype, fused=True, sequences=without)[0]
    assert [bool(torch.equal(fused[0][:, n], plain[:, n])) for n in range(5)] == [False, False, True, False, False]


def test_an_adapter_with_scaling_0_does_not_change_the_base_model(build: Build) -> None:
    """A kernel once took the factor 0 to mean overwrite instead of add."""
    model = build(32, torch.bfloat16, "int4")
    model.add_adapter("off", replace(adapter(model, 32, 2), scaling=0.0))
    off, none = (tuple(replace(sequence, adapter=name) for sequence in SEQUENCES) for name in ("off", None))
    assert torch.equal(
        answer(model, torch.bfloat16, fused=True, sequences=off)[0],
        answer(model, torch.bfloat16, fused=True, sequences=none)[0],
    )


def test_weights_that_the_native_decoder_does_not_support_are_not_accepted(build: Build) -> None:
    """Unpacked float32 weights, and ranks that are not a multiple of 8."""
    for rank, dtype in ((16, torch.float32), (12, torch.bfloat16)):
        model = build(rank, dtype, None)
        cache = new_cache(model, dtype)
        assert not FusedCPUExecutor(model, cache).accepts(decode_batch(cache, 0))


def test_prefill_and_other_caches_are_not_accepted(build: Build) -> None:
    """The executor has the addresses of one cache, and in prefill the queries of a sequence attend to each other."""
    model = build(16, torch.bfloat16, None)
    cache, other = new_cache(model, torch.bfloat16), new_cache(model, torch.bfloat16)
    executor = FusedCPUExecutor(model, cache)
    assert executor.accepts(decode_batch(cache, 0))
    assert not executor.accepts(decode_batch(other, 0))
    assert not executor.accepts(ForwardBatch(torch.arange(77), SEQUENCES, torch.tensor([0]), cache=cache))
    without = tuple(replace(sequence, pages=()) for sequence in SEQUENCES)
    assert not executor.accepts(ForwardBatch(torch.arange(77), without, torch.tensor([0])))


def test_the_engine_uses_the_fused_decoder_for_decode_steps(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fast path that is never used would pass all other tests."""
    calls: list[int] = []
    run = FusedCPUExecutor.run

    def counted(self: FusedCPUExecutor, batch: ForwardBatch) -> Tensor:
        calls.append(len(batch.ids))
        return run(self, batch)

    monkeypatch.setattr(FusedCPUExecutor, "run", counted)
    engine = Engine(build(32, torch.bfloat16, "int4"), eos_ids=())
    for start in (3, 30):
        add(engine, Prompt(tuple(range(start, start + 9))), SamplingParams(max_tokens=5))
    while engine.busy:
        engine.step()
    assert calls == [2, 2, 2, 2]


def test_a_slot_outside_all_pages_is_refused(build: Build) -> None:
    """Writing there would damage other memory."""
    model = build(32, torch.bfloat16, "int4")
    cache = PagedKVCache(model.config.text, pages=2, page_size=32, device=CPU, dtype=torch.bfloat16)
    executor = FusedCPUExecutor(model, cache)
    batch = ForwardBatch(
        torch.tensor([5]), (BatchedSequence(1, 70, None, False, (0, 1, 7)),), torch.tensor([0]), cache=cache
    )
    assert executor.accepts(batch)
    with pytest.raises(AssertionError, match="slots"):
        executor.run(batch)


def assign_parameters(model: Phi4MM) -> None:
    """New nn.Parameters, as a trainer sets them that sends its weights over."""
    for layer in model.text.decoder_layers:
        for linear in layer.linears:
            if isinstance(linear.weight, nn.Parameter):
                linear.weight = nn.Parameter(-linear.weight.detach())
        norm = layer.input_layernorm
        norm.weight = nn.Parameter(2 * norm.weight.detach())


def swap_data(model: Phi4MM) -> None:
    """The same parameters with other memory, as after `Module.to`."""
    for parameter in model.text.layers.parameters():
        parameter.data = -parameter.data


def change_in_place(model: Phi4MM) -> None:
    """What an optimizer does."""
    with torch.no_grad():
        for parameter in model.text.layers.parameters():
            parameter.mul_(-2)


def replace_packed(model: Phi4MM) -> None:
    """Replace one weight, packed or plain, by a packed one of 8 bits."""
    linear = model.text.decoder_layers[1].mlp.down_proj
    replace_weight(model, "text.layers.1.mlp.down_proj.weight", pack_weight(torch.randn(*linear.weight.shape) / 4, 8))


def replace_buffers(model: Phi4MM) -> None:
    """Replace only the tensors of packed weights, as `load_state_dict(assign=True)` does."""
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name in state:
        if name.endswith(".scales"):
            state[name] = 2 * state[name]
    model.load_state_dict(state, assign=True)


def replace_adapter(model: Phi4MM) -> None:
    """Another adapter of the same sizes and name, which may get the same memory addresses."""
    model.remove_adapter("speech")
    model.add_adapter("speech", adapter(model, 32, 9))


def insert_adapter(model: Phi4MM) -> None:
    """Adapters in another order: removing one changes the indices of those after it."""
    model.add_adapter("more", adapter(model, 16, 5))
    model.remove_adapter("speech")
    model.add_adapter("speech", adapter(model, 64, 6))


CHANGES = [
    assign_parameters,
    swap_data,
    change_in_place,
    replace_packed,
    replace_buffers,
    replace_adapter,
    insert_adapter,
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("dtype", "quantize"), SCHEMES)
def test_the_next_step_runs_with_the_new_weights(
    build: Build, dtype: torch.dtype, quantize: Quantization | None, change: Callable[[Phi4MM], None]
) -> None:
    """Prefill with new weights and decoding with old ones gives a wrong answer or reads freed memory."""
    model = build(32, dtype, quantize)
    cache = new_cache(model, dtype)
    fused, eager = FusedCPUExecutor(model, cache), EagerExecutor(model)
    with torch.inference_mode():
        prefill(model, cache)
        assert fused.accepts(decode_batch(cache, 0))
        before = fused.run(decode_batch(cache, 0))
    change(model)
    with torch.inference_mode():
        prefill(model, cache)
        batch = decode_batch(cache, 0)
        expected = eager.run(decode_batch(cache, 0))
        # An adapter of low rank stays unpacked: in float32 it has no native product, and the eager executor runs.
        assert fused.accepts(batch) == (dtype == torch.bfloat16 or change is not insert_adapter)
        if fused.accepts(batch):
            assert torch.equal(fused.run(batch), expected)
    assert torch.equal(before, expected) == (change is replace_buffers and quantize is None)


def test_a_model_that_is_no_longer_supported_is_not_accepted(build: Build) -> None:
    """An unpacked float32 weight among packed ones has no native product, also after `invalidate`."""
    model = build(32, torch.float32, "int4")
    cache = new_cache(model, torch.float32)
    executor = FusedCPUExecutor(model, cache)
    assert executor.accepts(decode_batch(cache, 0))
    linear = model.text.decoder_layers[0].self_attn.o_proj
    shape = linear.weight.shape
    del linear.weight
    linear.weight = nn.Parameter(torch.randn(*shape))
    assert not executor.accepts(decode_batch(cache, 0))
    executor.invalidate()
    assert not executor.accepts(decode_batch(cache, 0))


def test_the_native_decoder_is_built_once_while_nothing_changes(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Building it in each step would cost more than the fused call saves."""
    built: list[int] = []
    init = NativeDecoder.__init__

    def counting(self: NativeDecoder, *args: Any) -> None:
        built.append(1)
        init(self, *args)

    monkeypatch.setattr(NativeDecoder, "__init__", counting)
    model = build(16, torch.bfloat16, None)
    cache = new_cache(model, torch.bfloat16)
    executor = FusedCPUExecutor(model, cache)
    for step in range(4):
        assert executor.accepts(decode_batch(cache, step))
    assert len(built) == 1
    executor.invalidate()
    assert executor.accepts(decode_batch(cache, 4))
    assert len(built) == 2


def logits_of_steps(engine: Engine, ids: range) -> Iterator[tuple[int, float]]:
    """The sampled token and its log-probability of each step."""
    add(engine, Prompt(tuple(ids)), SamplingParams(max_tokens=4, logprobs=1))
    while engine.busy:
        for output in engine.step():
            yield from ((entry.token, entry.logprob) for entry in output.logprobs)


@pytest.mark.parametrize("quantize", [None, "int8", "int4"])
def test_an_engine_with_replaced_weights_answers_like_a_new_engine(build: Build, quantize: Quantization | None) -> None:
    """The engine once ran prefill with new weights and decoding with old ones."""
    model = build(32, torch.bfloat16, quantize)
    engine = Engine(model, eos_ids=())
    before = list(logits_of_steps(engine, range(3, 12)))
    for change in (swap_data, replace_packed):
        change(model)
    after = list(logits_of_steps(engine, range(40, 52)))
    assert after == list(logits_of_steps(Engine(model, eos_ids=()), range(40, 52)))
    assert before == list(logits_of_steps(Engine(build(32, torch.bfloat16, quantize), eos_ids=()), range(3, 12)))


def test_no_request_uses_cached_results_of_old_weights(build: Build) -> None:
    """The same prompt after weights were replaced or changed in place, while another request runs across the change."""
    model = build(32, torch.bfloat16, None)
    ids = Prompt(tuple(range(3, 90)))
    engine = Engine(model, eos_ids=())

    def answer() -> tuple[list[tuple[int, float]], int]:
        request = add(engine, ids, SamplingParams(max_tokens=4, logprobs=1))
        while engine.busy:
            engine.step()
        return [(entry.token, entry.logprob) for entry in request.logprobs], request.prefix_hit or 0

    first, cached = answer()
    assert (cached, answer()) == (0, (first, 64))
    across = add(engine, Prompt(tuple(range(3, 80))), SamplingParams(max_tokens=30))
    engine.step()
    for change in (swap_data, assign_parameters):
        change(model)
        fresh, cached = answer()
        assert cached == 0
        assert fresh != first
        new_engine = Engine(model, eos_ids=())
        alone = add(new_engine, ids, SamplingParams(max_tokens=4, logprobs=1))
        while new_engine.busy:
            new_engine.step()
        assert fresh == [(entry.token, entry.logprob) for entry in alone.logprobs]
        assert answer()[1] == 64, "cached results of the new weights are not found"
    assert across.finish_reason == "length"
    change_in_place(model)
    engine.invalidate()
    assert answer()[1] == 0
