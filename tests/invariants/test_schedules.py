"""With any schedule and any memory, each token of an answer is that of a new pass without caches."""

from __future__ import annotations

import dataclasses
import functools
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4mm.config.engine import EngineArgs
from phi4mm.diagnostics.verify import text_ids
from phi4mm.engine.core import Engine
from phi4mm.engine.encoders import encode_span
from phi4mm.engine.request import Request, State
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.protocol.inputs import AudioProjection, MediaSpan, Prompt
from phi4mm.protocol.sampling import SamplingParams
from tests.prompts import add, clip, full_logits, make_image, make_prompt, run

MAX_TOKENS = 12  # tokens of an answer
KINDS = ("text", "same text", "audio", "other audio", "two clips", "image", "both", "crossing", "past")


@functools.cache
def prompt(kind: str) -> Prompt:
    """A prompt of each kind. The LongRoPE switch is at 96 tokens: `crossing` decodes past it, `past` begins past it."""
    short, long = clip(24000), clip(30000)
    return {
        "text": lambda: make_prompt("text", [], 40),
        "same text": lambda: Prompt((*make_prompt("text", [], 40).ids[:38], 77, 78)),
        "audio": lambda: make_prompt("a", [short], 11),
        "other audio": lambda: make_prompt("a", [dataclasses.replace(short, features=short.features + 1)], 11),
        "two clips": lambda: make_prompt("clips", [short, long], 5),
        "image": lambda: make_prompt("image", [make_image(60, 37)], 3),
        "both": lambda: make_prompt("both", [make_image(60, 37), short], 6),
        "crossing": lambda: make_prompt("crossing", [long], 60),
        "past": lambda: make_prompt("past", [], 150),
    }[kind]()


GREEDY = SamplingParams(max_tokens=MAX_TOKENS)
DRAWN = SamplingParams(max_tokens=MAX_TOKENS, temperature=1.0, top_k=50, seed=7, frequency_penalty=0.5)
BIASED = SamplingParams(max_tokens=MAX_TOKENS, logit_bias=tuple((id, id % 7 - 3.0) for id in range(200)))


@functools.cache
def alone(model: Phi4MM, kind: str, params: SamplingParams) -> list[int]:
    """The answer of the request alone: enough memory, the whole prompt in one step, no prefix caching."""
    engine = Engine(model, eos_ids=(), engine_args=EngineArgs(enable_prefix_caching=False, max_num_batched_tokens=4096))
    request = add(engine, prompt(kind), params)
    while engine.busy:
        engine.step()
    return request.answer


def test_an_answer_alone_equals_a_new_pass_for_each_token(rope96: Phi4MM) -> None:
    """The other tests compare with these answers, so they must be right."""
    for kind in ("text", "crossing"):
        uncached: list[int] = []
        for _ in range(MAX_TOKENS):
            uncached.append(int(full_logits(rope96, prompt(kind), uncached, last=1)[-1].argmax()))
        assert alone(rope96, kind, GREEDY) == uncached, kind
    answers = [tuple(alone(rope96, kind, GREEDY)) for kind in KINDS]
    assert len(set(answers)) == len(answers), "two answers are equal, so a mix-up would not be noticed"


@settings(deadline=None, max_examples=12)
@given(st.data())
def test_any_schedule_in_any_memory_gives_each_request_its_own_answer(rope96: Phi4MM, data: st.DataObject) -> None:
    """Late arrivals, chunks, preemption, prefix hits, mixed adapters, LongRoPE switch, aborts: no slot may be wrong."""
    longest = max(len(prompt(kind).ids) for kind in KINDS) + MAX_TOKENS
    engine_args = EngineArgs(
        kv_cache_bytes=(longest + data.draw(st.integers(32, 400))) * 768,
        max_num_seqs=data.draw(st.integers(2, 5)),
        max_num_batched_tokens=data.draw(st.sampled_from([7, 32, 150, 1024])),
        enable_prefix_caching=data.draw(st.booleans()),
        page_size=data.draw(st.sampled_from([1, 4, 16, 32])),
    )
    engine = Engine(rope96, eos_ids=(), engine_args=engine_args)
    requests: list[tuple[str, Request]] = []
    for _ in range(data.draw(st.integers(2, 7))):
        kind = data.draw(st.sampled_from(KINDS))
        params = data.draw(st.sampled_from([GREEDY, DRAWN, BIASED]))
        requests.append((kind, add(engine, prompt(kind), params)))
        for _ in range(data.draw(st.integers(0, 12))):
            engine.step()
        if data.draw(st.integers(0, 4)) == 0:
            engine.abort(data.draw(st.sampled_from(requests))[1].request_id)
        pool = engine.pool
        assert pool.free + pool.held + pool.cached == pool.total
    while engine.busy:
        engine.step()
    assert (engine.pool.held, engine.media.held) == (0, 0)
    for kind, request in requests:
        expected = alone(rope96, kind, request.params)
        if request.finish_reason == "abort":
            expected = expected[: len(request.answer)]
        assert request.answer == expected, kind


@pytest.mark.parametrize("kind", ["two clips", "both", "past"])
def test_chunked_prefill_of_any_size_equals_prefill_in_one_step(rope96: Phi4MM, kind: str) -> None:
    """Chunks start and end inside media items: each uses its own part of the encoder outputs."""
    sizes = [2, 5, 31, 100] if kind != "both" else [37, 100]
    for size in sizes:
        engine = Engine(rope96, eos_ids=(), engine_args=EngineArgs(max_num_batched_tokens=size, max_num_seqs=1))
        request = add(engine, prompt(kind), GREEDY)
        while engine.busy:
            engine.step()
        assert request.answer == alone(rope96, kind, GREEDY), size


def test_a_preempted_answer_equals_one_without_preemption(rope96: Phi4MM) -> None:
    """Random numbers, penalties and media must survive. The answer so far is prefilled with the prompt."""
    kinds = ["text", "audio", "two clips"]
    engine = Engine(rope96, eos_ids=(), engine_args=EngineArgs(kv_cache_bytes=92 * 768, page_size=4))
    requests = [add(engine, prompt(kind), DRAWN) for kind in kinds]
    preempted: set[str] = set()
    while engine.busy:
        engine.step()
        preempted |= {request.id for request in requests if request.answer and request.state is State.WAITING}
    assert preempted, "no sequence was preempted: the memory holds only two"
    for kind, request in zip(kinds, requests, strict=True):
        assert request.answer == alone(rope96, kind, DRAWN), kind


@pytest.mark.parametrize("kv_cache_dtype", ["auto", "int8"])
def test_a_prefix_hit_equals_a_miss(rope96: Phi4MM, kv_cache_dtype: str) -> None:
    """With int8, a prompt that is prefilled must attend to the same rounded keys as one that finds them."""
    for kind in ("text", "two clips", "crossing"):
        engine = Engine(rope96, eos_ids=(), engine_args=EngineArgs(kv_cache_dtype=kv_cache_dtype, page_size=8))
        starts, answers = [], []
        for _ in range(2):
            request = add(engine, prompt(kind), GREEDY)
            engine._scheduler.plan()
            starts.append(request.cached)
            while engine.busy:
                engine.step()
            answers.append(request.answer)
        assert starts == [0, (len(prompt(kind).ids) - 1) // 8 * 8]
        assert answers[0] == answers[1], kind


def test_other_media_and_other_adapters_never_share_a_page(rope96: Phi4MM) -> None:
    """All images have equal placeholder ids, and keys depend on the adapter."""
    with_audio = prompt("audio")
    words = with_audio.ids[with_audio.spans[0].start + with_audio.spans[0].length :]
    as_text = Prompt((*with_audio.ids[:1], *(with_audio.ids[1],) * with_audio.spans[0].length, *words))
    with_image = prompt("both")
    image = with_image.spans[0]
    only_image = Prompt(with_image.ids[: image.start + image.length + 20], with_image.spans[:1])
    engine = Engine(rope96, eos_ids=(), engine_args=EngineArgs(page_size=4))
    for first, second in (
        (with_audio, prompt("other audio")),
        (with_audio, as_text),
        (with_image, dataclasses.replace(with_image, spans=with_image.spans[1:])),
    ):
        shared = []
        for each in (first, second):
            request = add(engine, each, SamplingParams(max_tokens=1))
            while engine.busy:
                engine.step()
                shared.append(set(request.pages))
        request = add(engine, second, GREEDY)
        while engine.busy:
            engine.step()
        uncached = Engine(rope96, eos_ids=(), engine_args=EngineArgs(enable_prefix_caching=False))
        expected = add(uncached, second, GREEDY)
        while uncached.busy:
            uncached.step()
        assert request.answer == expected.answer
    # Prompts with the same image and adapter share pages, up to the start of the audio clip.
    engine = Engine(rope96, eos_ids=(), engine_args=EngineArgs(page_size=4))
    for each in (with_image, only_image):
        add(engine, each, SamplingParams(max_tokens=1))
        while engine.busy:
            engine.step()
    request = add(engine, only_image, GREEDY)
    engine._scheduler.plan()
    assert request.cached > image.length


def test_a_media_item_is_encoded_once_for_all_prompts_that_contain_it(
    rope96: Phi4MM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second question about an image, or a sequence that is prefilled again, must not run the tower again."""
    encoded: list[bytes] = []

    def counting(model: Phi4MM, span: MediaSpan, projection: AudioProjection, device: torch.device) -> torch.Tensor:
        encoded.append(span.digest)
        return encode_span(model, span, projection, device)

    monkeypatch.setattr("phi4mm.engine.model_runner.encode_span", counting)
    engine = Engine(rope96, eos_ids=())
    first = prompt("audio")
    other = Prompt((5, *first.ids), (dataclasses.replace(first.spans[0], start=first.spans[0].start + 1),))
    requests = [add(engine, each, GREEDY) for each in (first, other, prompt("crossing"), first)]
    while engine.busy:
        engine.step()
    assert len(encoded) == 2
    expected = run(rope96, [other], GREEDY)[0]
    assert requests[1].answer == expected
    assert requests[3].answer == requests[0].answer == alone(rope96, "audio", GREEDY)


def test_int8_keys_and_values_give_nearly_the_same_logits(rope96: Phi4MM) -> None:
    """A scale that is wrong by a factor would still give text."""
    ids = tuple(text_ids("int8", 60).tolist())
    logprobs = []
    for dtype in ("auto", "int8"):
        engine = Engine(rope96, eos_ids=(), engine_args=EngineArgs(kv_cache_dtype=dtype))
        request = add(engine, Prompt(ids), SamplingParams(max_tokens=1, logprobs=20))
        while engine.busy:
            engine.step()
        logprobs.append(dict(request.logprobs[0].top))
    common = set(logprobs[0]) & set(logprobs[1])
    assert len(common) >= 15
    largest = max(abs(logprobs[0][token] - logprobs[1][token]) for token in common)
    assert 0 < largest < 0.2


def test_the_order_of_sequences_in_a_step_does_not_change_answers(rope96: Phi4MM) -> None:
    """Decoding sequences and chunks use different attention kernels, in any order in the batch."""
    kinds = list(KINDS)
    random.Random(3).shuffle(kinds)
    engine = Engine(rope96, eos_ids=(), engine_args=EngineArgs(max_num_batched_tokens=90, max_num_seqs=16))
    requests = []
    for kind in kinds:
        requests.append(add(engine, prompt(kind), GREEDY))
        engine.step()
    while engine.busy:
        engine.step()
    for kind, request in zip(kinds, requests, strict=True):
        assert request.answer == alone(rope96, kind, GREEDY), kind
