"""Requests wait, run, end and fail in an engine with the tiny model."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
import torch

from phi4mm.config.engine import EngineArgs
from phi4mm.engine.core import Engine
from phi4mm.engine.request import Constraint, Request, State
from phi4mm.engine.sampler import penalize_repetition
from phi4mm.errors import CapacityError, ConfigError, EngineError, InputError
from phi4mm.model.batch import ForwardBatch
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.protocol.inputs import MediaSpan, Prompt
from phi4mm.protocol.sampling import SamplingParams
from tests.prompts import add, clip, full_logits, make_prompt, run

FOUR = SamplingParams(max_tokens=4)


def finish(engine: Engine) -> None:
    while engine.busy:
        engine.step()
    pool = engine.pool
    assert (pool.held, engine.media.held, pool.free + pool.cached) == (0, 0, pool.total)


def test_a_request_that_can_never_run_is_refused(rope96: Phi4MM) -> None:
    """The message says what was found and what to do; otherwise the request would wait for ever."""
    engine = Engine(rope96, eos_ids=(), engine_args=EngineArgs(kv_cache_bytes=100_000))
    context = rope96.config.text.rope.max_positions
    with pytest.raises(InputError, match=f"has {context} tokens and the context holds {context}"):
        add(engine, Prompt((1,) * context), FOUR)
    with pytest.raises(InputError, match="the prompt is empty"):
        add(engine, Prompt(()), FOUR)
    with pytest.raises(InputError, match=r"may need 1001 cached tokens and the cache holds 128; lower max_tokens"):
        add(engine, Prompt((1, 2)), SamplingParams(max_tokens=1000))
    vocabulary = rope96.config.text.vocab_size
    for wrong in (vocabulary, -1, 10**30):
        with pytest.raises(InputError, match=f"the prompt has the token id {wrong}; expected 0 to {vocabulary - 1}"):
            add(engine, Prompt((1, wrong, 2)), FOUR)
    with pytest.raises(InputError, match=f"logit_bias names the token id {vocabulary}; expected 0 to {vocabulary - 1}"):
        add(engine, Prompt((1, 2)), SamplingParams(max_tokens=4, logit_bias=((3, 1.0), (vocabulary, 1.0))))
    prompt = make_prompt("clip", [clip(8000)], 2)
    without_digest = dataclasses.replace(prompt, spans=(dataclasses.replace(prompt.spans[0], digest=b"x"),))
    with pytest.raises(InputError, match="the digest of an audio has 1 bytes; expected the 32 of SHA-256"):
        add(engine, without_digest, FOUR)


def test_wrong_engine_args_are_refused_with_a_reason(rope96: Phi4MM) -> None:
    """A value that is silently changed or ignored would be noticed in production only."""
    with pytest.raises(ConfigError, match=r"kv_cache_bytes is 100; expected at least \d+, the bytes of one page of 32"):
        Engine(rope96, eos_ids=(), engine_args=EngineArgs(kv_cache_bytes=100))
    with pytest.raises(ConfigError, match="kv_cache_dtype is 'int4'; expected one of auto, int8"):
        EngineArgs(kv_cache_dtype="int4")
    with pytest.raises(ConfigError, match="max_waiting is 0; expected a whole number from 1"):
        EngineArgs(max_waiting=0)
    with pytest.raises(
        ConfigError, match="max_num_batched_tokens is 64 and max_num_seqs 64; expected more tokens than sequences"
    ):
        EngineArgs(max_num_batched_tokens=64)


def test_the_cache_memory_is_chosen_with_a_reason_unless_it_is_given(rope96: Phi4MM) -> None:
    """Without kv_cache_bytes it is chosen and the reason given; int8 keys and values fit more tokens."""
    chosen = Engine(rope96, eos_ids=())
    assert chosen.engine_args.kv_cache_bytes is not None
    assert len(chosen.reasons) == 1
    assert f"kv_cache_bytes {chosen.engine_args.kv_cache_bytes}: " in chosen.reasons[0]
    given = Engine(rope96, eos_ids=(), engine_args=EngineArgs(kv_cache_bytes=1_000_000))
    assert (given.engine_args.kv_cache_bytes, given.reasons) == (1_000_000, ())
    # A token: 2 layers x 2 heads x 16 floats, keys and values, and a media embedding of 64 floats.
    assert given.pool.total == 1_000_000 // (32 * (2 * 2 * 2 * 16 * 4 + 64 * 4))
    assert given.media.capacity == given.pool.total * 32
    small = Engine(rope96, eos_ids=(), engine_args=EngineArgs(kv_cache_bytes=1_000_000, kv_cache_dtype="int8"))
    assert small.pool.total == 1_000_000 // (32 * (2 * 2 * 2 * (16 + 4) + 64 * 4))


def test_aborting_a_waiting_request_removes_it_from_the_queue(rope96: Phi4MM) -> None:
    """It must never run, and aborting it twice does nothing."""
    engine = Engine(rope96, eos_ids=())
    request = add(engine, make_prompt("a", [], 3), FOUR)
    engine.abort(request.request_id)
    engine.abort(request.request_id)
    assert (request.state, request.finish_reason, engine.busy) == (State.FINISHED, "abort", False)
    assert engine.step() == []


def test_an_aborted_sequence_releases_its_pages_and_encoder_outputs_at_once(rope96: Phi4MM) -> None:
    """Also in the middle of its media: an aborted request must not hold memory for another step."""
    engine = Engine(rope96, eos_ids=(), engine_args=EngineArgs(max_num_batched_tokens=10, max_num_seqs=4))
    request = add(engine, make_prompt("clip", [clip(30000)], 5), FOUR)
    engine.step()
    assert engine.pool.held > 0
    assert engine.media.held == request.prompt.spans[0].length
    engine.abort(request.request_id)
    assert (engine.pool.held, engine.media.held) == (0, 0)


def test_a_request_beyond_max_waiting_is_refused(rope96: Phi4MM) -> None:
    """A queue without a limit takes memory without a limit."""
    engine = Engine(rope96, eos_ids=(), engine_args=EngineArgs(max_waiting=2))
    for _ in range(2):
        add(engine, make_prompt("a", [], 3), FOUR)
    with pytest.raises(CapacityError, match="the queue has room for 0 more answers and this request needs 1"):
        add(engine, make_prompt("a", [], 3), FOUR)
    engine.step()
    add(engine, make_prompt("a", [], 3), FOUR)
    finish(engine)


def test_sequences_whose_logits_are_not_finite_fail_alone(rope96: Phi4MM, monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN in one sequence, greedy or sampled, must not end the other answers of the batch."""
    good, bad = make_prompt("good", [], 5), make_prompt("bad", [], 6)
    alone = run(rope96, [good], FOUR)[0]
    engine = Engine(rope96, eos_ids=())
    drawn = dataclasses.replace(FOUR, temperature=1.0)
    sequences = [add(engine, bad, FOUR), add(engine, good, FOUR), add(engine, bad, drawn)]
    forward = Phi4MM.forward

    def with_nan(model: Phi4MM, batch: ForwardBatch) -> torch.Tensor:
        logits = forward(model, batch)
        if len(logits) == 3:
            logits[0, 5], logits[2] = torch.nan, -torch.inf
        return logits

    monkeypatch.setattr(Phi4MM, "forward", with_nan)
    finish(engine)
    for sequence, value in ((sequences[0], "nan"), (sequences[2], "-inf")):
        assert isinstance(sequence.error, EngineError)
        assert str(sequence.error).startswith(f"request {sequence.id}: the largest of ")
        assert str(sequence.error).endswith(f"logits is {value}; expected a finite number")
        assert sequence.finish_reason == "error"
    assert sequences[1].answer == alone


def test_a_sequence_whose_media_cannot_be_encoded_fails_alone(rope96: Phi4MM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little memory for one audio clip must not end other answers, nor a later request with the same clip."""
    text = make_prompt("text", [], 5)
    alone = run(rope96, [text], FOUR)[0]

    def failing(model: Phi4MM, span: MediaSpan, adapter: str, device: torch.device) -> None:
        raise RuntimeError("not enough memory")

    engine = Engine(rope96, eos_ids=())
    with monkeypatch.context() as patched:
        patched.setattr("phi4mm.engine.model_runner.encode_span", failing)
        with_audio, text_only = add(engine, make_prompt("clip", [clip(8000)], 2), FOUR), add(engine, text, FOUR)
        finish(engine)
    assert "not enough memory" in str(with_audio.error)
    assert (with_audio.finish_reason, text_only.answer) == ("error", alone)
    again = add(engine, with_audio.prompt, FOUR)
    finish(engine)
    assert again.answer == run(rope96, [with_audio.prompt], FOUR)[0]


def test_an_encoder_output_of_a_wrong_length_is_detected(rope96: Phi4MM) -> None:
    """Both lengths are in the message. Shifted media embeddings would give a wrong answer without an error."""
    prompt = make_prompt("clip", [clip(8000)], 2)
    wrong = dataclasses.replace(prompt.spans[0], length=prompt.spans[0].length + 1)
    engine = Engine(rope96, eos_ids=())
    add(engine, Prompt((prompt.ids[0], prompt.ids[1], *prompt.ids[1:]), (wrong,)), FOUR)
    (output,) = engine.step()
    assert isinstance(output.error, EngineError)
    assert "audio: 6 embeddings for 7 placeholders" in str(output.error)


class EveryNth:
    """A constraint that allows ids with id % step == rest after the first token; fails after `limit` tokens."""

    def __init__(self, step: int, rest: int, vocabulary: int, limit: int = 100) -> None:
        self.step, self.rest, self.vocabulary, self.limit = step, rest, vocabulary, limit
        self.accepted: list[int] = []

    def mask(self) -> npt.NDArray[np.int32] | None:
        if len(self.accepted) >= self.limit:
            raise ValueError("no text fits")
        if not self.accepted:
            return None
        bits = np.zeros(-(-self.vocabulary // 32) * 32, np.uint8)
        bits[self.rest : self.vocabulary : self.step] = 1
        return np.packbits(bits, bitorder="little").view(np.int32)

    def accept(self, token: int) -> None:
        self.accepted.append(token)

    def fork(self) -> Constraint:
        return EveryNth(self.step, self.rest, self.vocabulary, self.limit)


def test_constraints_apply_to_their_own_sequences_before_penalties_and_survive_preemption(rope96: Phi4MM) -> None:
    """A constraint that started again after preemption would allow any token once."""
    vocabulary = rope96.config.text.vocab_size
    params = SamplingParams(max_tokens=40, repetition_penalty=1.5)
    engine_args = EngineArgs(kv_cache_bytes=70_000, page_size=8)  # 11 pages for sequences that need 6 each
    prompt = make_prompt("a", [], 3)
    constraints = [EveryNth(7, 3, vocabulary), None, EveryNth(11, 5, vocabulary), EveryNth(2, 0, vocabulary, limit=3)]
    by_source = {str(n): constraint for n, constraint in enumerate(constraints) if constraint is not None}
    engine = Engine(rope96, eos_ids=(), engine_args=engine_args, grammars=by_source.__getitem__)
    sequences = [
        add(engine, prompt, params, grammar=str(n) if str(n) in by_source else None) for n in range(len(constraints))
    ]
    preempted: set[str] = set()
    while engine.busy:
        engine.step()
        preempted |= {sequence.id for sequence in sequences if sequence.answer and sequence.state is State.WAITING}
    assert preempted
    assert all(token % 7 == 3 for token in sequences[0].answer[1:])
    assert all(token % 11 == 5 for token in sequences[2].answer[1:])
    assert sequences[1].answer == run(rope96, [prompt], params)[0]
    assert (sequences[3].finish_reason, len(sequences[3].answer)) == ("error", 3)
    for sequence, constraint in ((sequences[0], constraints[0]), (sequences[2], constraints[2])):
        assert constraint is not None
        assert constraint.accepted == sequence.answer
        logits = full_logits(rope96, prompt, sequence.answer[:1], last=1)[-1]
        allowed = penalize_repetition(logits, 1.5, [*prompt.ids, sequence.answer[0]])[
            constraint.rest :: constraint.step
        ]
        assert sequence.answer[1] == int(allowed.argmax()) * constraint.step + constraint.rest


def test_log_probabilities_are_those_of_the_model_before_penalties(rope96: Phi4MM) -> None:
    """Before penalties and temperature, in float32, of the chosen token and the most likely ones."""
    prompt = make_prompt("a", [], 3)
    params = SamplingParams(max_tokens=5, temperature=2.0, seed=3, frequency_penalty=1.0, logprobs=4)
    engine = Engine(rope96, eos_ids=())
    request, greedy = add(engine, prompt, params), add(engine, prompt, SamplingParams(max_tokens=5, logprobs=0))
    finish(engine)
    for sequence, count in ((request, 4), (greedy, 0)):
        logits = full_logits(rope96, prompt, sequence.answer)[len(prompt.ids) - 1 : -1]
        expected = logits.double().log_softmax(-1)
        assert [entry.token for entry in sequence.logprobs] == sequence.answer
        for entry, line in zip(sequence.logprobs, expected, strict=True):
            assert entry.logprob == pytest.approx(float(line[entry.token]), abs=1e-4)
            values, ids = line.topk(count)
            assert [token for token, _ in entry.top] == ids.tolist()
            assert [value for _, value in entry.top] == pytest.approx(values.tolist(), abs=1e-4)
    assert request.answer != greedy.answer


def test_moving_to_another_device_clears_the_caches(rope96: Phi4MM) -> None:
    """Cached pages would otherwise be looked up on the new device, where their content is undefined."""
    engine = Engine(rope96, eos_ids=(), engine_args=EngineArgs(page_size=4, kv_cache_bytes=500_000))
    first = add(engine, make_prompt("a", [], 30), FOUR)
    finish(engine)
    assert engine.pool.cached > 0
    engine.move("cpu")
    assert engine.pool.cached == 0
    again: Request = add(engine, first.prompt, FOUR)
    finish(engine)
    assert again.answer == first.answer
