"""Several answers to one prompt, log-probabilities and engine arguments, through phi4mm's own API."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import phi4mm
from phi4mm import CapacityError, ChatRequest, EngineArgs, InputError, SamplingParams
from phi4mm.inference.model import Model

DRAWN = SamplingParams(temperature=1.5, seed=5, max_tokens=6)
QUESTION = "what is the colour of the small circle beside the large square"


def test_n_answers_are_those_of_n_seeds_and_share_the_prompts_pages(small: Model, small_folder: Path) -> None:
    """The same draw n times is one answer; n prefills of one prompt are n times the memory."""
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
        while model.stats().answer_tokens_total < 8:
            next(stream)
        assert model.stats().pages_held == len(prompt.ids) // size + 4
        assert model.stats().prompt_tokens_total == len(prompt.ids) + 3 * (len(prompt.ids) % size)
        stream.close()
        assert (model.stats().pages_held, model.stats().busy) == (0, False)


def test_a_stream_is_one_answer(small: Model) -> None:
    """The others would be dropped without a word."""
    with pytest.raises(InputError, match=r"n is 2, and a stream is one answer; use chat\(\)"):
        small.stream(QUESTION, params=replace(DRAWN, n=2))
    with pytest.raises(InputError, match="n is 17; expected a whole number from 1 to 16"):
        replace(DRAWN, n=17)
    with pytest.raises(InputError, match="logprobs is 21; expected a whole number from 0 to 20"):
        replace(DRAWN, logprobs=21)


def test_log_probabilities_come_one_a_token_and_only_when_asked(small: Model) -> None:
    """One entry too few would shift every later one."""
    assert small.chat(QUESTION, params=DRAWN).logprobs == ()
    reply = small.chat(QUESTION, params=replace(DRAWN, logprobs=2))
    assert tuple(entry.token for entry in reply.logprobs) == reply.ids
    assert all(entry.logprob <= entry.top[0][1] <= 0 and len(entry.top) == 2 for entry in reply.logprobs)


def test_a_batch_larger_than_the_queue_waits_for_room(small_folder: Path) -> None:
    """The bound is for many callers; a batch is one caller, who would have to split it."""
    model = phi4mm.load(
        small_folder, device="cpu", engine_args=EngineArgs(max_waiting=3, max_num_seqs=2, max_num_batched_tokens=40)
    )
    replies = model.batch([ChatRequest(f"{QUESTION} {n}", params=replace(DRAWN, n=1 + n % 2)) for n in range(9)])
    assert [len(reply.alternatives) for reply in replies] == [n % 2 for n in range(9)]
    with pytest.raises(CapacityError, match="there is room for 3 more requests and 4 came"):
        model.chat(QUESTION, params=replace(DRAWN, n=4))
    assert not model.stats().busy


def test_the_settings_say_how_much_memory_was_taken_and_why(small_folder: Path) -> None:
    """`doctor` and reports read it there."""
    model = phi4mm.load(small_folder, device="cpu")
    assert model.settings.engine_args.kv_cache_bytes is not None
    assert model.settings.reasons[-1].startswith(f"kv_cache_bytes {model.settings.engine_args.kv_cache_bytes}: ")
    asked = phi4mm.load(small_folder, device="cpu", engine_args=EngineArgs(kv_cache_bytes=10**6, kv_cache_dtype="int8"))
    assert asked.settings.engine_args == EngineArgs(kv_cache_bytes=10**6, kv_cache_dtype="int8")
