"""Whatever the schedule, whatever the memory: an answer is what a fresh uncached pass would give, token by token."""

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

MOST = 12  # tokens of an answer
KINDS = ("text", "same text", "audio", "other audio", "two clips", "image", "both", "crossing", "past")


@functools.cache
def prompt(kind: str) -> Prompt:
    """Sequences of every kind. LongRoPE switches at 96 tokens: `crossing` passes them while decoding, `past` before."""
    hum, tone = clip(24000), clip(30000)
    return {
        "text": lambda: make_prompt("text", [], 40),
        "same text": lambda: Prompt((*make_prompt("text", [], 40).ids[:38], 77, 78)),
        "audio": lambda: make_prompt("a", [hum], 11),
        "other audio": lambda: make_prompt("a", [dataclasses.replace(hum, features=hum.features + 1)], 11),
        "two clips": lambda: make_prompt("clips", [hum, tone], 5),
        "image": lambda: make_prompt("image", [make_image(60, 37)], 3),
        "both": lambda: make_prompt("both", [make_image(60, 37), hum], 6),
        "crossing": lambda: make_prompt("crossing", [tone], 60),
        "past": lambda: make_prompt("past", [], 150),
    }[kind]()


GREEDY = SamplingParams(max_tokens=MOST)
DRAWN = SamplingParams(max_tokens=MOST, temperature=1.0, top_k=50, seed=7, frequency_penalty=0.5)


@functools.cache
def alone(model: Phi4MM, kind: str, params: SamplingParams) -> list[int]:
    """Undisturbed: all the memory, the whole prompt in one step, no cache of prefixes."""
    engine = Engine(model, eos_ids=(), engine_args=EngineArgs(enable_prefix_caching=False, max_num_batched_tokens=4096))
    request = add(engine, prompt(kind), params)
    while engine.busy:
        engine.step()
    return request.answer


def test_an_undisturbed_answer_equals_a_fresh_pass_each_token(rope96: Phi4MM) -> None:
    """The other tests compare with these answers: they must be the model's."""
    for kind in ("text", "crossing"):
        fresh: list[int] = []
        for _ in range(MOST):
            fresh.append(int(full_logits(rope96, prompt(kind), fresh, last=1)[-1].argmax()))
        assert alone(rope96, kind, GREEDY) == fresh, kind
    answers = [tuple(alone(rope96, kind, GREEDY)) for kind in KINDS]
    assert len(set(answers)) == len(answers), "sequences must differ to show a mix-up"


@settings(deadline=None, max_examples=12)
@given(st.data())
def test_any_schedule_in_any_memory_gives_each_request_its_own_answer(rope96: Phi4MM, data: st.DataObject) -> None:
    """Late joins, chunks, preemption, prefix hits, mixed adapters, the switch, aborts: one wrong slot shows here."""
    longest = max(len(prompt(kind).ids) for kind in KINDS) + MOST
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
        params = data.draw(st.sampled_from([GREEDY, DRAWN]))
        requests.append((kind, add(engine, prompt(kind), params)))
        for _ in range(data.draw(st.integers(0, 12))):
            engine.step()
        if data.draw(st.integers(0, 4)) == 0:
            engine.abort(data.draw(st.sampled_from(requests))[1].group)
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
def test_prefill_in_chunks_of_any_size_equals_prefill_at_once(rope96: Phi4MM, kind: str) -> None:
    """Chunks begin and end inside media: each takes its own part of the encoder outputs."""
    sizes = [2, 5, 31, 100] if kind != "both" else [37, 100]
    for size in sizes:
        engine = Engine(rope96, eos_ids=(), engine_args=EngineArgs(max_num_batched_tokens=size, max_num_seqs=1))
        request = add(engine, prompt(kind), GREEDY)
        while engine.busy:
            engine.step()
        assert request.answer == alone(rope96, kind, GREEDY), size


def test_a_preempted_answer_goes_on_as_if_nothing_had_been(rope96: Phi4MM) -> None:
    """Random numbers, penalties and media must survive; the answer so far is prefilled with the prompt."""
    kinds = ["text", "audio", "two clips"]
    engine = Engine(rope96, eos_ids=(), engine_args=EngineArgs(kv_cache_bytes=92 * 768, page_size=4))
    requests = [add(engine, prompt(kind), DRAWN) for kind in kinds]
    preempted: set[str] = set()
    while engine.busy:
        engine.step()
        preempted |= {request.id for request in requests if request.answer and request.state is State.WAITING}
    assert preempted, "the memory was made for two"
    for kind, request in zip(kinds, requests, strict=True):
        assert request.answer == alone(rope96, kind, DRAWN), kind


@pytest.mark.parametrize("kv_cache_dtype", ["auto", "int8"])
def test_a_prefix_hit_equals_a_miss(rope96: Phi4MM, kv_cache_dtype: str) -> None:
    """A prompt prefilled whole must see the same rounded keys as one that takes them over."""
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
    """All images have equal placeholder ids, and keys depend on the adapter that was active."""
    heard = prompt("audio")
    words = heard.ids[heard.spans[0].start + heard.spans[0].length :]
    as_text = Prompt((*heard.ids[:1], *(heard.ids[1],) * heard.spans[0].length, *words))
    with_image = prompt("both")
    image = with_image.spans[0]
    only_image = Prompt(with_image.ids[: image.start + image.length + 20], with_image.spans[:1])
    engine = Engine(rope96, eos_ids=(), engine_args=EngineArgs(page_size=4))
    for first, second in (
        (heard, prompt("other audio")),
        (heard, as_text),
        (with_image, dataclasses.replace(with_image, spans=with_image.spans[1:])),
    ):
        shared = []
        for each in (first, second):
            request = add(engine, each, SamplingParams(max_tokens=1))
            while engine.busy:
                engine.step()
                shared.append(set(request.pages))
        found = add(engine, second, GREEDY)
        while engine.busy:
            engine.step()
        undisturbed = Engine(rope96, eos_ids=(), engine_args=EngineArgs(enable_prefix_caching=False))
        expected = add(undisturbed, second, GREEDY)
        while undisturbed.busy:
            undisturbed.step()
        assert found.answer == expected.answer
    # The same image under the same adapter is shared, up to where the audio clip begins.
    engine = Engine(rope96, eos_ids=(), engine_args=EngineArgs(page_size=4))
    for each in (with_image, only_image):
        add(engine, each, SamplingParams(max_tokens=1))
        while engine.busy:
            engine.step()
    request = add(engine, only_image, GREEDY)
    engine._scheduler.plan()
    assert request.cached > image.length


def test_a_medium_is_encoded_once_for_all_prompts_that_show_it(rope96: Phi4MM, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same page asked two questions, or a sequence prefilled again, must not run the tower again."""
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


def test_int8_keys_stay_near_the_models_own(rope96: Phi4MM) -> None:
    """A scale that is off by a factor would still give text."""
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


def test_sequences_of_one_step_in_any_order_give_the_same(rope96: Phi4MM) -> None:
    """Sequences of one token and chunks go different ways through attention, whatever lies between them."""
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
