"""How requests wait, run, end and fail, over the tiny model."""

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


def test_what_can_never_run_is_refused(rope96: Phi4MM) -> None:
    """With what was found and what to do; a request that waits forever would be worse."""
    engine = Engine(rope96, eos_ids=(), engine_args=EngineArgs(kv_cache_bytes=100_000))
    context = rope96.config.text.rope.max_positions
    with pytest.raises(InputError, match=f"has {context} tokens and the context holds {context}"):
        add(engine, Prompt((1,) * context), FOUR)
    with pytest.raises(InputError, match="the prompt is empty"):
        add(engine, Prompt(()), FOUR)
    with pytest.raises(InputError, match=r"may need 1001 cached tokens and the cache holds 128; lower max_tokens"):
        add(engine, Prompt((1, 2)), SamplingParams(max_tokens=1000))
    prompt = make_prompt("clip", [clip(8000)], 2)
    nameless = dataclasses.replace(prompt, spans=(dataclasses.replace(prompt.spans[0], digest=b"x"),))
    with pytest.raises(InputError, match="the digest of an audio has 1 bytes; expected the 32 of SHA-256"):
        add(engine, nameless, FOUR)


def test_the_limits_say_what_is_wrong_with_them(rope96: Phi4MM) -> None:
    """A limit that is silently raised or ignored is found out in production."""
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


def test_the_memory_is_chosen_once_and_said_why(rope96: Phi4MM) -> None:
    """Twice the bytes hold twice the tokens; int8 holds more in the same; a chosen figure is not chosen again."""
    chosen = Engine(rope96, eos_ids=())
    assert chosen.engine_args.kv_cache_bytes is not None
    assert len(chosen.reasons) == 1
    assert f"kv_cache_bytes {chosen.engine_args.kv_cache_bytes}: " in chosen.reasons[0]
    given = Engine(rope96, eos_ids=(), engine_args=EngineArgs(kv_cache_bytes=1_000_000))
    assert (given.engine_args.kv_cache_bytes, given.reasons) == (1_000_000, ())
    # A token: 2 layers x 2 heads x 16 floats, keys and values, and an encoder sequence of 64 floats.
    assert given.pool.total == 1_000_000 // (32 * (2 * 2 * 2 * 16 * 4 + 64 * 4))
    assert given.media.capacity == given.pool.total * 32
    small = Engine(rope96, eos_ids=(), engine_args=EngineArgs(kv_cache_bytes=1_000_000, kv_cache_dtype="int8"))
    assert small.pool.total == 1_000_000 // (32 * (2 * 2 * 2 * (16 + 4) + 64 * 4))


def test_aborting_a_waiting_request_takes_it_from_the_queue(rope96: Phi4MM) -> None:
    """It must never run, and aborting it twice does nothing."""
    engine = Engine(rope96, eos_ids=())
    request = add(engine, make_prompt("a", [], 3), FOUR)
    engine.abort(request.group)
    engine.abort(request.group)
    assert (request.state, request.finish_reason, engine.busy) == (State.FINISHED, "abort", False)
    assert engine.step() == []


def test_an_aborted_sequence_gives_its_pages_and_encoder_sequences_back_at_once(rope96: Phi4MM) -> None:
    """In the middle of its media too: a client that leaves must not hold memory for another step."""
    engine = Engine(rope96, eos_ids=(), engine_args=EngineArgs(max_num_batched_tokens=10, max_num_seqs=4))
    request = add(engine, make_prompt("clip", [clip(30000)], 5), FOUR)
    engine.step()
    assert engine.pool.held > 0
    assert engine.media.held == request.prompt.spans[0].length
    engine.abort(request.group)
    assert (engine.pool.held, engine.media.held) == (0, 0)


def test_too_many_waiting_requests_are_told_to_come_later(rope96: Phi4MM) -> None:
    """A queue without end is memory without end."""
    engine = Engine(rope96, eos_ids=(), engine_args=EngineArgs(max_waiting=2))
    for _ in range(2):
        add(engine, make_prompt("a", [], 3), FOUR)
    with pytest.raises(CapacityError, match="there is room for 0 more requests and 1 came"):
        add(engine, make_prompt("a", [], 3), FOUR)
    engine.step()
    add(engine, make_prompt("a", [], 3), FOUR)
    finish(engine)


def test_sequences_whose_logits_are_not_numbers_fail_alone(rope96: Phi4MM, monkeypatch: pytest.MonkeyPatch) -> None:
    """One poisoned sequence must not end the answers beside it, be it greedy or drawn."""
    good, bad = make_prompt("good", [], 5), make_prompt("bad", [], 6)
    alone = run(rope96, [good], FOUR)[0]
    engine = Engine(rope96, eos_ids=())
    drawn = dataclasses.replace(FOUR, temperature=1.0)
    sequences = [add(engine, bad, FOUR), add(engine, good, FOUR), add(engine, bad, drawn)]
    forward = Phi4MM.forward

    def poisoned(model: Phi4MM, batch: ForwardBatch) -> torch.Tensor:
        logits = forward(model, batch)
        if len(logits) == 3:
            logits[0, 5], logits[2] = torch.nan, -torch.inf
        return logits

    monkeypatch.setattr(Phi4MM, "forward", poisoned)
    finish(engine)
    for sequence, value in ((sequences[0], "nan"), (sequences[2], "-inf")):
        assert isinstance(sequence.error, EngineError)
        assert str(sequence.error).startswith(f"request {sequence.id}: the largest of ")
        assert str(sequence.error).endswith(f"logits is {value}; expected a finite number")
        assert sequence.finish_reason == "error"
    assert sequences[1].answer == alone


def test_a_sequence_whose_media_cannot_be_encoded_fails_alone(rope96: Phi4MM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Running out of memory over one audio clip must not end the answers beside it, nor those of a later try."""
    text = make_prompt("text", [], 5)
    alone = run(rope96, [text], FOUR)[0]

    def failing(model: Phi4MM, span: MediaSpan, adapter: str, device: torch.device) -> None:
        raise RuntimeError("not enough memory")

    engine = Engine(rope96, eos_ids=())
    with monkeypatch.context() as patched:
        patched.setattr("phi4mm.engine.model_runner.encode_span", failing)
        heard, read = add(engine, make_prompt("clip", [clip(8000)], 2), FOUR), add(engine, text, FOUR)
        finish(engine)
    assert "not enough memory" in str(heard.error)
    assert (heard.finish_reason, read.answer) == ("error", alone)
    again = add(engine, heard.prompt, FOUR)
    finish(engine)
    assert again.answer == run(rope96, [heard.prompt], FOUR)[0]


def test_encoder_sequences_that_do_not_fill_their_placeholders_are_caught(rope96: Phi4MM) -> None:
    """Both numbers are in the message; a silent shift of media embeddings would answer about another image."""
    prompt = make_prompt("clip", [clip(8000)], 2)
    wrong = dataclasses.replace(prompt.spans[0], length=prompt.spans[0].length + 1)
    engine = Engine(rope96, eos_ids=())
    add(engine, Prompt((prompt.ids[0], prompt.ids[1], *prompt.ids[1:]), (wrong,)), FOUR)
    (output,) = engine.step()
    assert isinstance(output.error, EngineError)
    assert "audio: 6 embeddings for 7 placeholders" in str(output.error)


class Every:
    """Allows ids that leave a rest of `rest` when divided by `step`; fails after `ends` tokens."""

    def __init__(self, step: int, rest: int, vocabulary: int, ends: int = 100) -> None:
        self.step, self.rest, self.vocabulary, self.ends = step, rest, vocabulary, ends
        self.accepted: list[int] = []

    def mask(self) -> npt.NDArray[np.int32] | None:
        if len(self.accepted) >= self.ends:
            raise ValueError("no text fits")
        if not self.accepted:
            return None
        bits = np.zeros(-(-self.vocabulary // 32) * 32, np.uint8)
        bits[self.rest : self.vocabulary : self.step] = 1
        return np.packbits(bits, bitorder="little").view(np.int32)

    def accept(self, token: int) -> None:
        self.accepted.append(token)

    def fork(self) -> Constraint:
        return Every(self.step, self.rest, self.vocabulary, self.ends)


def test_constraints_hold_for_their_own_sequences_before_penalties_and_through_preemption(rope96: Phi4MM) -> None:
    """A mask after the penalties could leave a sequence without tokens; one begun anew would allow anything once."""
    vocabulary = rope96.config.text.vocab_size
    params = SamplingParams(max_tokens=40, repetition_penalty=1.5)
    engine_args = EngineArgs(kv_cache_bytes=70_000, page_size=8)  # 11 pages for sequences that need 6 each
    prompt = make_prompt("a", [], 3)
    constraints = [Every(7, 3, vocabulary), None, Every(11, 5, vocabulary), Every(2, 0, vocabulary, ends=3)]
    made = {str(n): constraint for n, constraint in enumerate(constraints) if constraint is not None}
    engine = Engine(rope96, eos_ids=(), engine_args=engine_args, grammars=made.__getitem__)
    sequences = [
        add(engine, prompt, params, grammar=str(n) if str(n) in made else None) for n in range(len(constraints))
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


def test_log_probabilities_are_the_models_own(rope96: Phi4MM) -> None:
    """Before penalties and temperature, in float32, of the token that was chosen; the likeliest first."""
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


def test_moving_to_another_device_forgets_the_caches(rope96: Phi4MM) -> None:
    """Pages that are found but lie on the old device would be garbage on the new one."""
    engine = Engine(rope96, eos_ids=(), engine_args=EngineArgs(page_size=4, kv_cache_bytes=500_000))
    first = add(engine, make_prompt("a", [], 30), FOUR)
    finish(engine)
    assert engine.pool.cached > 0
    engine.move("cpu")
    assert engine.pool.cached == 0
    again: Request = add(engine, first.prompt, FOUR)
    finish(engine)
    assert again.answer == first.answer
