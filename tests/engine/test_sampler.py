from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4mm.engine import sampler
from phi4mm.protocol.sampling import SamplingParams

LOGITS = st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=40)


def kept(logits: torch.Tensor) -> list[int]:
    return [i for i, x in enumerate(logits.tolist()) if x > -math.inf]


def log(*probabilities: float) -> torch.Tensor:
    return torch.tensor(probabilities).log()


def greedy(logits: torch.Tensor, prompt: list[int], answer: list[int], **options: Any) -> int:
    return sampler.sample(logits, SamplingParams(**options), prompt, answer, None)


def test_the_repetition_penalty_divides_positive_and_multiplies_negative_logits_once() -> None:
    """Dividing a negative logit would make a repeated token likelier; a second hit must not count twice."""
    out = sampler.penalize_repetition(torch.tensor([3.0, -2.0, 1.0, 0.0]), 2.0, [0, 1, 1, 0, 3])
    assert out.tolist() == [1.5, -4.0, 1.0, 0.0]


def test_presence_counts_once_and_frequency_each_time() -> None:
    """The two penalties are easily mixed up."""
    out = sampler.penalize_answer(torch.tensor([1.0, 1.0, 1.0]), 0.5, 0.25, [1, 1, 1, 2])
    assert out.tolist() == [1.0, -0.25, 0.25]


def test_a_bias_is_added_before_penalties_temperature_and_filters() -> None:
    """Added later, it would be divided by the temperature, or could not bring back what top-k dropped."""
    logits = torch.tensor([2.0, 1.0, 0.0])
    assert greedy(logits, [], [], logit_bias=((2, 2.5),)) == 2
    assert greedy(logits, [], [2], logit_bias=((2, 2.5),), presence_penalty=1.0) == 0
    assert greedy(logits, [2], [], logit_bias=((2, 2.5),), repetition_penalty=2.0) == 0  # 2.5 / 2, and not 0 / 2 + 2.5
    params = SamplingParams(temperature=5.0, top_k=1, logit_bias=((2, 2.5),))
    assert sampler.sample(logits, params, [], [], sampler.new_generator(0)) == 2
    assert logits.tolist() == [2.0, 1.0, 0.0]


def test_a_bias_does_not_allow_what_the_grammar_forbids() -> None:
    """An answer outside its grammar would end with an error."""
    masked = torch.tensor([-math.inf, 1.0, 0.0])
    assert greedy(masked, [], [], logit_bias=((0, 100.0),)) == 1


def test_the_log_probability_of_a_draw_is_that_of_the_biased_distribution() -> None:
    """GRPO divides by it; without the bias every ratio would be wrong."""
    logits, biased = torch.tensor([2.0, 1.0, 0.0]), torch.tensor([2.0, -1.0, 3.0])
    params = SamplingParams(temperature=0.7, top_p=0.9, logit_bias=((1, -2.0), (2, 3.0)))
    plain = SamplingParams(temperature=0.7, top_p=0.9)
    for token in (0, 2):
        found = sampler.sampling_logprob(logits, token, params, [], [])
        assert found == pytest.approx(sampler.sampling_logprob(biased, token, plain, [], []), abs=1e-6)


def test_only_the_repetition_penalty_uses_the_prompt() -> None:
    """Presence and frequency penalties must not make the words of a long question unlikely."""
    logits = torch.tensor([1.0, 0.9])
    assert greedy(logits, [0], [], presence_penalty=1.0, frequency_penalty=1.0) == 0
    assert greedy(logits, [], [0], presence_penalty=1.0) == 1
    assert greedy(logits, [], [0], frequency_penalty=1.0) == 1
    assert greedy(logits, [0], [], repetition_penalty=2.0) == 1
    assert greedy(logits, [], [0], repetition_penalty=2.0) == 1


def test_penalties_come_before_the_filters() -> None:
    """With top-k first, token 1 could never be chosen after token 0 was penalized."""
    params = SamplingParams(temperature=1.0, top_k=1, presence_penalty=5.0)
    assert sampler.sample(torch.tensor([2.0, 1.0, 0.0]), params, [], [0], sampler.new_generator(0)) == 1


def test_temperature_comes_before_top_p() -> None:
    """p is a share of the distribution that is sampled, not of the one before temperature."""
    logits = log(0.6, 0.3, 0.1)
    flat = sampler.apply_temperature(logits, 100.0)
    assert kept(sampler.keep_top_p(logits, 0.55)) == [0]
    assert kept(sampler.keep_top_p(flat, 0.55)) == [0, 1]
    drawn = {
        sampler.sample(logits, SamplingParams(temperature=100.0, top_p=0.55), [], [], sampler.new_generator(seed))
        for seed in range(50)
    }
    assert drawn == {0, 1}


def test_top_p_works_on_what_top_k_kept() -> None:
    """0.4 of (0.4, 0.3) is 57 %, so one token reaches 0.5 after top-k; in the whole vocabulary two are needed."""
    logits = log(0.4, 0.3, 0.2, 0.1)
    assert kept(sampler.keep_top_p(logits, 0.5)) == [0, 1]
    assert kept(sampler.keep_top_p(sampler.keep_top_k(logits, 2), 0.5)) == [0]


def test_top_p_keeps_the_smallest_set_that_reaches_p() -> None:
    """The token that crosses p belongs to the set; without it no token would be left when one has more than p."""
    logits = log(0.125, 0.5, 0.25, 0.125)
    assert kept(sampler.keep_top_p(logits, 0.49)) == [1]
    assert kept(sampler.keep_top_p(logits, 0.51)) == [1, 2]
    assert kept(sampler.keep_top_p(logits, 0.76)) == [0, 1, 2]
    assert kept(sampler.keep_top_p(logits, 0.01)) == [1]


def test_top_p_is_exact_when_the_first_tokens_do_not_reach_p() -> None:
    """A flat distribution over a large vocabulary needs more tokens than are sorted first."""
    logits = torch.zeros(10 * sampler.TOP_P_FIRST_SIZE)
    assert kept(sampler.keep_top_p(logits, 0.75)) in (
        list(range(round(7.5 * sampler.TOP_P_FIRST_SIZE))),
        list(range(round(7.5 * sampler.TOP_P_FIRST_SIZE) + 1)),
    )


def test_min_p_is_measured_against_the_most_likely_token() -> None:
    """0.5 x 0.5 = 0.25: 0.26 stays, 0.24 goes."""
    assert kept(sampler.keep_min_p(log(0.24, 0.5, 0.26), 0.5)) == [1, 2]


def test_top_k_keeps_exactly_k_and_the_lowest_ids_among_equals() -> None:
    """A threshold alone keeps every equal token, and then top_k=1 is not greedy."""
    assert kept(sampler.keep_top_k(torch.tensor([1.0, 2.0, 1.0, 1.0, 2.0]), 3)) == [0, 1, 4]
    assert kept(sampler.keep_top_k(torch.tensor([1.0, 1.0, 1.0]), 1)) == [0]
    assert kept(sampler.keep_top_k(torch.tensor([1.0, 0.0]), 5)) == [0, 1]


def test_greedy_takes_the_lowest_id_among_equals() -> None:
    """Any other rule makes answers differ between machines."""
    logits = torch.full((200_064,), -1.0)
    logits[[150_000, 7, 199_999]] = 3.0
    assert greedy(logits, [], []) == 7


@pytest.mark.parametrize("bad", [[math.nan, 1.0], [math.inf, 1.0], [-math.inf, -math.inf]])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_finite_are_refused(bad: list[float], temperature: float) -> None:
    """argmax over NaN is a token id like any other: the error would look like an answer."""
    with pytest.raises(ValueError, match=r"the largest of 2 logits is (nan|inf|-inf); expected a finite number"):
        sampler.sample(torch.tensor(bad), SamplingParams(temperature=temperature), [], [], None)


@pytest.mark.parametrize("tiny", [1e-20, 1e-40, 5e-324])
def test_the_smallest_allowed_options_are_greedy_and_not_nan(tiny: float) -> None:
    """Dividing by them overflows to inf, or divides by a rounded 0: both give NaN and then an arbitrary token."""
    logits = torch.tensor([9.0, 10.0, -5.0, 0.0])
    params = SamplingParams(temperature=tiny)
    assert sampler.sample(logits, params, [], [], sampler.new_generator(1)) == 1
    params = SamplingParams(temperature=1.0, repetition_penalty=tiny)
    assert sampler.sample(logits, params, [1, 3], [], sampler.new_generator(1)) == 1


def test_the_same_seed_gives_the_same_tokens_and_another_seed_others() -> None:
    """A request has its own random generator; the global state and other requests must not change it."""
    logits = torch.zeros(1000)
    params = SamplingParams(temperature=1.0)

    def tokens(seed: int) -> list[int]:
        generator = sampler.new_generator(seed)
        out = []
        for _ in range(10):
            torch.rand(3)
            out.append(sampler.sample(logits, params, [], [], generator))
        return out

    assert tokens(3) == tokens(3)
    assert tokens(3) != tokens(4)
    drawn = [sampler.new_generator(None).initial_seed() for _ in range(3)]
    assert len(set(drawn)) == 3


def test_draws_follow_the_distribution() -> None:
    """20,000 draws with a fixed seed: no count is off by more than five standard deviations."""
    probabilities = [0.5, 0.0, 0.3, 0.15, 0.05]
    generator = sampler.new_generator(11)
    n = 20_000
    counts = Counter(sampler.draw(log(*probabilities), generator) for _ in range(n))
    assert counts[1] == 0
    for token, p in enumerate(probabilities):
        assert abs(counts[token] - n * p) <= 5 * math.sqrt(n * p * (1 - p))


@settings(deadline=None, max_examples=150)
@given(
    values=LOGITS, k=st.integers(1, 50), p=st.floats(0.01, 0.99), floor=st.floats(0.01, 1.0), seed=st.integers(0, 2**31)
)
def test_filters_keep_the_most_likely_token_and_its_logits(
    values: list[float], k: int, p: float, floor: float, seed: int
) -> None:
    """Sampling from an empty set gives NaN; a changed logit would change the distribution."""
    logits = torch.tensor(values)
    before = logits.clone()
    for out in (sampler.keep_top_k(logits, k), sampler.keep_top_p(logits, p), sampler.keep_min_p(logits, floor)):
        assert int(logits.argmax()) in kept(out)
        assert all(out[i] == logits[i] for i in kept(out))
        dropped = set(range(len(values))) - set(kept(out))
        assert all(logits[i] <= logits[kept(out)].min() for i in dropped)
    assert len(kept(sampler.keep_top_k(logits, k))) == min(k, len(values))
    params = SamplingParams(
        temperature=0.7, top_k=k, top_p=p, min_p=floor, repetition_penalty=1.3, presence_penalty=1.0
    )
    history = [i % len(values) for i in range(5)]
    token = sampler.sample(logits, params, history, history, sampler.new_generator(seed))
    assert 0 <= token < len(values)
    assert torch.equal(logits, before)


@settings(deadline=None, max_examples=100)
@given(values=LOGITS, seed=st.integers(0, 2**31))
def test_top_k_of_one_is_greedy_at_any_temperature(values: list[float], seed: int) -> None:
    """The two ways to get the most likely token must agree."""
    logits = torch.tensor(values)
    params = SamplingParams(temperature=1.5, top_k=1)
    assert sampler.sample(logits, params, [], [], sampler.new_generator(seed)) == greedy(logits, [], [])
