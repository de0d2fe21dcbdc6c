"""Several answers to one prompt, log-probabilities and engine arguments, through the public API."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

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


def test_a_bias_forces_or_bans_a_token_and_leaves_its_neighbours_alone(small: Model) -> None:
    """Bias 100 forces a token and -100 bans it, as OpenAI's reference says; drawn, greedy, and beside others."""
    plain, drawn = SamplingParams(max_tokens=6), replace(DRAWN, logprobs=1)
    first, most_drawn = small.chat(QUESTION, params=plain), small.chat(QUESTION, params=drawn)
    forced = small.processor.tokenizer.encode_text("a")[0]
    kinds = [
        plain,
        replace(plain, logit_bias=((forced, 100),)),
        replace(plain, logit_bias=((first.ids[0], -100),)),
        drawn,
        replace(drawn, logit_bias=((forced, 100),)),
        replace(drawn, logit_bias=tuple((id, -100) for id in set(most_drawn.ids))),
    ]
    together = small.batch([ChatRequest(QUESTION, params=params) for params in kinds])
    assert [reply.ids for reply in together] == [small.chat(QUESTION, params=params).ids for params in kinds]
    for base, forcing, banning in (together[:3], together[3:]):
        assert set(forcing.ids) == {forced} != set(base.ids)
        assert base.ids[0] not in banning.ids
    assert together[3].ids == most_drawn.ids
    assert not set(together[5].ids) & set(most_drawn.ids)
    biased = together[4].logprobs[0]
    assert biased.sampling_logprob == pytest.approx(0.0, abs=1e-6)  # the model's own is before the bias
    assert biased.logprob < -0.1


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        ({5: 101}, "the bias of token 5 is 101; expected a number from -100 to 100"),
        ({5: float("nan")}, "the bias of token 5 is nan"),
        ({"5": 1}, "a token id of logit_bias is '5'; expected a whole number"),
        ({-1: 1}, "a token id of logit_bias is -1; expected a whole number from 0"),
        (dict.fromkeys(range(301), 1), "logit_bias has 301 tokens; at most 300 are allowed"),
        (((5, 1), (5, 2)), "logit_bias names a token twice"),
        ([(5,)], r"logit_bias is \(\(5,\),\); expected a dict"),
        ("5", "logit_bias is '5'; expected a dict"),
        ((5, 1), r"logit_bias is \(5, 1\); expected a dict"),
    ],
)
def test_a_bias_of_another_form_is_refused(bias: Any, message: str) -> None:
    """Each would fail later, in a step, or be ignored."""
    with pytest.raises(InputError, match=message):
        SamplingParams(logit_bias=bias)
    assert SamplingParams(logit_bias=[(5, 1)]) == SamplingParams(logit_bias={5: 1})  # type: ignore[arg-type]
    assert SamplingParams(logit_bias=None).logit_bias == ()  # type: ignore[arg-type]


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
