"""An answer never depends on other sequences of the batch, and cached equals uncached."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import torch

from phi4mm.diagnostics.verify import text_ids
from phi4mm.engine.core import Engine
from phi4mm.model.batch import BatchedSequence, ForwardBatch
from phi4mm.model.kv import PagedKVCache
from phi4mm.model.lora import LoRALinear
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.protocol.inputs import Prompt
from phi4mm.protocol.sampling import SamplingParams
from tests.prompts import add, clip, full_logits, make_image, make_prompt, run


@pytest.fixture(scope="module")
def prompts() -> dict[str, Prompt]:
    """One of each kind. The LongRoPE switch is at 96 tokens: `crossing` decodes past it, `past` begins past it."""
    return {
        "text": make_prompt("text", [], 9),
        "image": make_prompt("image", [make_image(448, 200)], 7),
        "audio": make_prompt("audio", [clip(24000)], 11),
        "two clips": make_prompt("clips", [clip(7000), clip(30000)], 5),
        "both": make_prompt("both", [make_image(100, 37), clip(16000)], 6),
        "crossing": make_prompt("crossing", [clip(60000)], 40),
        "past": make_prompt("past", [], 150),
    }


GREEDY = SamplingParams(max_tokens=12)


def test_each_sequence_of_a_mixed_batch_equals_itself_alone_in_any_order(
    rope96: Phi4MM, prompts: dict[str, Prompt]
) -> None:
    """The published code takes the adapter of sequence 0 and one rotary table for all sequences."""
    alone = {name: run(rope96, [prompt], GREEDY)[0] for name, prompt in prompts.items()}
    assert len({tuple(answer) for answer in alone.values()}) == len(alone), (
        "two answers are equal, so a mix-up would not be noticed"
    )
    orders = [list(prompts), list(prompts)[::-1], random.Random(5).sample(list(prompts), len(prompts))]
    for order in orders:
        answers = run(rope96, [prompts[name] for name in order], GREEDY)
        assert dict(zip(order, answers, strict=True)) == alone, f"order {order}"


def test_a_sequence_that_is_added_later_equals_itself_alone(rope96: Phi4MM, prompts: dict[str, Prompt]) -> None:
    """A new request must not change the caches and positions of running ones."""
    engine = Engine(rope96, eos_ids=())
    requests = {}
    for name, prompt in prompts.items():
        requests[name] = add(engine, prompt, GREEDY)
        engine.step()
        engine.step()
    while engine.busy:
        engine.step()
    for name, request in requests.items():
        assert request.answer == run(rope96, [prompts[name]], GREEDY)[0], name


def test_an_aborted_sequence_does_not_change_others(rope96: Phi4MM, prompts: dict[str, Prompt]) -> None:
    """An abort must release the sequence's pages without changing those of others."""
    engine = Engine(rope96, eos_ids=())
    aborted, kept = add(engine, prompts["image"], GREEDY), add(engine, prompts["audio"], GREEDY)
    while not aborted.answer:
        engine.step()
    engine.abort(aborted.request_id)
    while engine.busy:
        engine.step()
    assert len(aborted.answer) == 1
    assert kept.answer == run(rope96, [prompts["audio"]], GREEDY)[0]


def test_each_sampled_sequence_has_its_own_random_generator(rope96: Phi4MM, prompts: dict[str, Prompt]) -> None:
    """With one generator for the batch, other sequences would change what a seed gives."""
    params = SamplingParams(temperature=1.0, top_k=50, seed=7, max_tokens=8)
    alone = run(rope96, [prompts["text"]], params)[0]
    assert run(rope96, [prompts["audio"], prompts["text"], prompts["past"]], params)[1] == alone
    assert run(rope96, [prompts["text"]], SamplingParams(temperature=1.0, top_k=50, seed=8, max_tokens=8))[0] != alone


def test_greedy_decoding_with_the_cache_equals_a_new_pass_for_each_token(
    rope96: Phi4MM, prompts: dict[str, Prompt]
) -> None:
    """Past the LongRoPE switch, cached keys have other angles than a new pass uses: they must be computed again."""
    for name in ("crossing", "both", "past"):
        prompt = prompts[name]
        uncached: list[int] = []
        for _ in range(12):
            uncached.append(int(full_logits(rope96, prompt, uncached)[-1].argmax()))
        assert run(rope96, [prompt], GREEDY)[0] == uncached, name


@pytest.mark.parametrize("splits", [[1] * 20, [19, 1], [7, 6, 7], [1, 19]])
def test_prefill_in_parts_equals_prefill_in_one_pass(rope96: Phi4MM, splits: list[int]) -> None:
    """A mask that is off by one gives a difference at some split."""
    ids = torch.from_numpy(text_ids("split", 20))
    cache = PagedKVCache(rope96.config.text, pages=9, page_size=4, device=torch.device("cpu"), dtype=torch.float32)
    pages = (7, 2, 8, 0, 3)
    with torch.inference_mode():
        whole = rope96(ForwardBatch(ids, (BatchedSequence(20),), torch.arange(20)))
        starts = [0, *itertools.accumulate(splits)]
        parts = [
            rope96(
                ForwardBatch(ids[a:b], (BatchedSequence(b - a, past=a, pages=pages),), torch.arange(b - a), cache=cache)
            )
            for a, b in itertools.pairwise(starts)
        ]
    assert torch.allclose(torch.cat(parts), whole, atol=1e-4, rtol=0)  # float32 sums in another order


def test_adapters_change_the_logits(rope96: Phi4MM) -> None:
    """Adapters that had no effect would pass all equality tests."""
    ids = torch.from_numpy(text_ids("adapters", 30))
    sequences = [BatchedSequence(30), BatchedSequence(30, adapter="vision"), BatchedSequence(30, adapter="speech")]
    with torch.inference_mode():
        logits = [rope96(ForwardBatch(ids, (sequence,), torch.tensor([29])))[0] for sequence in sequences]
        together = rope96(ForwardBatch(ids.repeat(3), tuple(sequences), torch.tensor([29, 59, 89])))
    for a, b in itertools.combinations(logits, 2):
        assert (a - b).abs().max() > 0.1
    assert torch.allclose(together, torch.stack(logits), atol=1e-4, rtol=0)


def test_an_applied_adapter_equals_a_merged_one(rope96: Phi4MM) -> None:
    """Checks scaling and the order of A and B against W + alpha/r B A."""
    linear = rope96.get_submodule("text.layers.0.self_attn.qkv_proj")
    assert isinstance(linear, LoRALinear)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32))
    with torch.inference_mode():
        a, b = linear.lora_a["speech"], linear.lora_b["speech"]
        assert isinstance(a, torch.Tensor)
        assert isinstance(b, torch.Tensor)
        merged = linear.weight + 24 / 12 * b @ a
        assert torch.allclose(linear(x, {"speech": slice(0, 5)}), x @ merged.T, atol=1e-5)
