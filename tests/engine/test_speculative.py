"""Speculative decoding: which tokens are proposed, and that they save steps and do not change answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import pytest

from phi4mm.config.engine import EngineArgs
from phi4mm.engine.core import Engine
from phi4mm.engine.request import Request
from phi4mm.engine.speculative import MIN_PROPOSALS, NGRAM_SIZE, propose
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.protocol.inputs import Prompt
from phi4mm.protocol.sampling import SamplingParams
from tests.engine.test_scheduler import Simulation
from tests.prompts import add

GREEDY = SamplingParams()


def request(ids: list[int], answer: list[int], params: SamplingParams = GREEDY) -> Request:
    """A sequence with an answer so far."""
    return Request("r", Prompt(tuple(ids)), params, answer=answer)


def test_the_tokens_that_followed_the_last_ngram_before_are_proposed() -> None:
    """In the prompt, or across the border to the answer; the latest occurrence counts."""
    assert propose(request([1, 2, 3, 4, 5, 6, 9], [1, 2, 3]), 2) == (4, 5)
    assert propose(request([1, 2, 3, 4, 8, 1, 2, 3, 5], [7, 1, 2, 3]), 2) == (5, 7)
    assert propose(request([9, 1, 2], [3, 4, 1, 2, 3]), 9) == (4, 1, 2, 3, 4, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("sequence", "max_tokens"),
    [
        (request([1, 2, 3, 4, 5], [9, 2, 3]), 3),
        (request([1, 2], [3]), 3),
        (request([1, 2, 3, 4, 1, 2], [3]), 0),
        (request([1, 2, 3, 4, 1, 2], [3]), -1),
        (request([1, 2, 3, 4, 1, 2], [3], SamplingParams(temperature=0.5)), 3),
        (request([1, 2, 3, 4, 1, 2], [3], SamplingParams(repetition_penalty=1.1)), 3),
        (request([1, 2, 3, 4, 1, 2], [3], SamplingParams(logprobs=0)), 3),
    ],
)
def test_nothing_is_proposed_without_a_match_room_or_greedy_sampling(sequence: Request, max_tokens: int) -> None:
    """A sampled token also depends on random numbers, so it cannot be verified this way."""
    assert propose(sequence, max_tokens) == ()


def test_each_ngram_of_a_sequence_is_indexed_once() -> None:
    """New tokens are found too, but a sequence of 128k tokens must not be indexed again in every step."""
    sequence = request(list(range(100)), [])
    for token in (200, 201, 202, 203, 200, 201, 202):
        sequence.answer.append(token)
        found = propose(sequence, 4)
    assert found == (203, 200, 201, 202)
    assert len(sequence.speculative.ngrams) == sequence.length - NGRAM_SIZE


def test_a_sequence_with_a_low_acceptance_rate_gets_no_more_proposals() -> None:
    """Every rejected token costs time."""
    sequence = request([1, 2, 3, 4, 1, 2], [3])
    sequence.speculative.proposed, sequence.speculative.accepted = MIN_PROPOSALS + 1, 0
    assert propose(sequence, 3) == ()
    sequence.speculative.accepted = 1
    assert propose(sequence, 3) == (4, 1, 2)


def test_accepted_tokens_save_steps_and_none_are_proposed_in_a_batch_of_eight() -> None:
    """With eight sequences a CPU is bound by arithmetic, and a rejected token slows the other sequences."""
    steps = []
    for limit in (0, 3):
        simulation = Simulation(engine_args=EngineArgs(page_size=16, num_speculative_tokens=limit), vocabulary=1)
        sequence = simulation.add(4, tokens=40)
        simulation.finish()
        assert sequence.answer == [0] * 40
        assert simulation.proposed == sequence.speculative.proposed
        steps.append(simulation.steps)
    assert steps[0] == 40
    assert steps[1] < 16
    simulation = Simulation(engine_args=EngineArgs(page_size=16), vocabulary=1)
    for _ in range(8):
        simulation.add(4, tokens=40)
    simulation.finish()
    assert simulation.proposed == 0


@pytest.mark.parametrize("kv_cache_dtype", ["auto", "int8"])
def test_answers_are_the_same_with_and_without_speculative_decoding(
    rope96: Phi4MM, kv_cache_dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sequences that repeat themselves, across page ends and the LongRoPE switch at 96 tokens."""
    ids = tuple(range(40, 52)) * 6
    real: Callable[[Request, int], tuple[int, ...]] = propose
    answers, proposed = [], []
    for limit in (0, 5):
        engine = Engine(
            rope96,
            eos_ids=(),
            engine_args=EngineArgs(num_speculative_tokens=limit, kv_cache_dtype=kv_cache_dtype, page_size=8),
        )
        sequences = [add(engine, Prompt(ids[n:]), SamplingParams(max_tokens=60)) for n in (0, 7)]
        while engine.busy:
            engine.step()
        answers.append([sequence.answer for sequence in sequences])
        proposed.append(sum(sequence.speculative.proposed for sequence in sequences))
    assert answers[0] == answers[1]
    assert proposed[0] == 0
    assert proposed[1] > 0, "a model with random weights repeats itself"
    # With wrong proposals too, the answer stays the same.
    monkeypatch.setattr(
        "phi4mm.engine.scheduler.propose", lambda sequence, limit: (7,) * limit if limit > 0 else real(sequence, limit)
    )
    engine = Engine(rope96, eos_ids=(), engine_args=EngineArgs(kv_cache_dtype=kv_cache_dtype, page_size=8))
    sequences = [add(engine, Prompt(ids[n:]), SamplingParams(max_tokens=60)) for n in (0, 7)]
    while engine.busy:
        engine.step()
    assert [sequence.answer for sequence in sequences] == answers[0]


def test_a_parameter_that_changes_logits_ends_speculation() -> None:
    """Also one that is added later: only those that greedy sampling does not look at are let through."""
    neutral = {"top_k", "top_p", "min_p", "stop", "seed", "max_tokens", "n"}
    other = {
        "temperature": 0.5,
        "repetition_penalty": 1.1,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.5,
        "logit_bias": ((5, 1.0),),
        "logprobs": 1,
    }
    assert neutral | set(other) == {field.name for field in fields(SamplingParams)}
    for name, value in other.items():
        sequence = request([1, 2, 3, 4, 1, 2], [3])
        sequence.params = replace(SamplingParams(), **{name: value})  # type: ignore[arg-type]
        assert propose(sequence, 3) == (), name
