"""Several answers to one prompt, log-probabilities and engine arguments, through the public API."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import phi4mm
from phi4mm import CapacityError, ChatRequest, EngineArgs, InputError, SamplingParams
from phi4mm.inference.model import Model

DRAWN = SamplingParams(temperature=1.5, seed=5, max_tokens=6)
QUESTION = "what is the colour of the small circle beside the large square"


def test_n_answers_equal_those_of_n_seeds_and_share_the_prompts_pages(small: Model, small_folder: Path) -> None:
    """One seed would give n equal answers, and n prefills of the prompt would take n times the memory."""
    reply = small.chat(QUESTION, params=replace(DRAWN, n=4))
    answers = (reply, *reply.alternatives)
    expected = [small.chat(QUESTION, params=replace(DRAWN, seed=5 + n)) for n in range(4)]
    assert [answer.ids for answer in answers] == [answer.ids for answer in expected]
    assert [answer.text for answer in answers] == [answer.text for answer in expected]
    assert len({answer.ids for answer in answers}) > 1
    prompt = small.processor.chat([phi4mm.Message.user(QUESTION)])
    size = small.settings.engine_args.page_size
    assert len(prompt.ids) > size
    with phi4mm.load(small_folder, device="cpu", engine="inline") as model:
        stream = model.submit(prompt, replace(DRAWN, n=4, max_tokens=60))
        while model.stats().completion_tokens_total < 8:
            next(stream)
        assert model.stats().pages_held == len(prompt.ids) // size + 4
        assert model.stats().prompt_tokens_total == len(prompt.ids) + 3 * (len(prompt.ids) % size)
        stream.close()
        assert (model.stats().pages_held, model.stats().busy) == (0, False)


def test_a_stream_with_several_answers_is_refused(small: Model) -> None:
    """The other answers would be lost without an error."""
    with pytest.raises(InputError, match=r"n is 2, but a stream is one answer; use chat\(\)"):
        small.stream(QUESTION, params=replace(DRAWN, n=2))
    with pytest.raises(InputError, match="n is 17; expected a whole number from 1 to 16"):
        replace(DRAWN, n=17)
    with pytest.raises(InputError, match="logprobs is 21; expected a whole number from 0 to 20"):
        replace(DRAWN, logprobs=21)


def test_there_is_one_log_probability_for_each_token_if_requested(small: Model) -> None:
    """One missing entry would shift all later ones."""
    assert small.chat(QUESTION, params=DRAWN).logprobs == ()
    reply = small.chat(QUESTION, params=replace(DRAWN, logprobs=2))
    assert tuple(entry.token for entry in reply.logprobs) == reply.ids
    assert all(entry.logprob <= entry.top[0][1] <= 0 and len(entry.top) == 2 for entry in reply.logprobs)


def test_a_batch_larger_than_the_queue_waits_for_room(small_folder: Path) -> None:
    """max_waiting protects a server from too many callers; a batch of one caller must not be refused."""
    model = phi4mm.load(
        small_folder, device="cpu", engine_args=EngineArgs(max_waiting=3, max_num_seqs=2, max_num_batched_tokens=40)
    )
    replies = model.batch([ChatRequest(f"{QUESTION} {n}", params=replace(DRAWN, n=1 + n % 2)) for n in range(9)])
    assert [len(reply.alternatives) for reply in replies] == [n % 2 for n in range(9)]
    with pytest.raises(CapacityError, match="the queue has room for 3 more answers and this request needs 4"):
        model.chat(QUESTION, params=replace(DRAWN, n=4))
    assert not model.stats().busy


def test_the_settings_give_the_cache_memory_and_the_reason(small_folder: Path) -> None:
    """`phi4mm doctor` and reports read them there."""
    model = phi4mm.load(small_folder, device="cpu")
    assert model.settings.engine_args.kv_cache_bytes is not None
    assert model.settings.reasons[-1].startswith(f"kv_cache_bytes {model.settings.engine_args.kv_cache_bytes}: ")
    given = phi4mm.load(small_folder, device="cpu", engine_args=EngineArgs(kv_cache_bytes=10**6, kv_cache_dtype="int8"))
    assert given.settings.engine_args == EngineArgs(kv_cache_bytes=10**6, kv_cache_dtype="int8")
