"""How requests wait, run, end and fail, over the tiny model."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from phi4mm.engine.engine import Engine
from phi4mm.engine.request import Request, State
from phi4mm.engine.sampler import sample
from phi4mm.engine.scheduler import MAX_ROWS, PREFILL_TOKENS, Scheduler
from phi4mm.errors import EngineError, InputError
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.options import SamplingParams
from phi4mm.prompt import Prompt
from tests.prompts import clip, make_prompt, run

FOUR = SamplingParams(max_tokens=4)


def waiting(name: str, length: int) -> Request:
    return Request(name, Prompt((1,) * length), FOUR)


def new_scheduler(switch: int = 96, context: int = 3072) -> Scheduler:
    return Scheduler(switch=switch, context=context, eos_ids=(7, 9))


def test_rows_join_until_the_step_is_full_and_a_long_one_joins_alone() -> None:
    """A step that takes every waiting prompt would make running rows wait for all of them."""
    scheduler = new_scheduler()
    for n, length in enumerate((PREFILL_TOKENS - 10, 10, 1, PREFILL_TOKENS * 2)):
        scheduler.add(waiting(f"r{n}", length))
    joined = []
    for _ in range(3):
        plan = scheduler.plan()
        joined.append([chunk.request.id for chunk in plan if chunk.start == 0])
        scheduler.commit(plan, [1] * len(plan))
    assert joined == [["r0", "r1"], ["r2"], ["r3"]]


def test_no_more_rows_run_than_allowed() -> None:
    """The rest waits, and takes the places that become free."""
    scheduler = new_scheduler()
    for n in range(MAX_ROWS + 3):
        scheduler.add(waiting(f"r{n}", 2))
    plan = scheduler.plan()
    assert len(plan) == MAX_ROWS
    scheduler.commit(plan, [7] * len(plan))
    assert len(scheduler.plan()) == 3


def test_every_eos_id_ends_an_answer_and_others_do_not() -> None:
    """Stopping on one id alone makes answers run past the end of the turn."""
    scheduler = new_scheduler()
    for n in range(3):
        scheduler.add(waiting(f"r{n}", 2))
    outputs = scheduler.commit(scheduler.plan(), [7, 8, 9])
    assert [output.end_reason for output in outputs] == ["stop", None, "stop"]


def test_a_row_that_passes_the_switch_begins_again_at_token_0_once() -> None:
    """Its keys were rotated by the short table; later steps go on from the new cache."""
    scheduler = new_scheduler(switch=10)
    scheduler.add(waiting("r", 9))
    starts = []
    for _ in range(4):
        plan = scheduler.plan()
        starts.append((plan[0].start, plan[0].end, plan[0].long))
        scheduler.commit(plan, [1])
    assert starts == [(0, 9, False), (9, 10, False), (0, 11, True), (11, 12, True)]


def test_the_context_ends_an_answer(rope96: Phi4MM) -> None:
    """A row must not grow past what the model was made for."""
    scheduler = new_scheduler(context=12)
    scheduler.add(Request("r", Prompt((1,) * 10), SamplingParams(max_tokens=100)))
    assert scheduler.commit(scheduler.plan(), [1])[0].end_reason is None
    assert scheduler.commit(scheduler.plan(), [1])[0].end_reason == "length"
    engine = Engine(rope96, eos_ids=())
    context = rope96.config.text.rope.max_positions
    with pytest.raises(InputError, match=f"has {context} tokens and the context holds {context}"):
        engine.add(Prompt((1,) * context), FOUR)
    with pytest.raises(InputError, match="the prompt is empty"):
        engine.add(Prompt(()), FOUR)


def test_aborting_a_waiting_request_takes_it_from_the_queue(rope96: Phi4MM) -> None:
    """It must never run, and aborting it twice does nothing."""
    engine = Engine(rope96, eos_ids=())
    request = engine.add(make_prompt("a", [], 3), FOUR)
    engine.abort(request)
    engine.abort(request)
    assert (request.state, request.end_reason, engine.busy) == (State.FINISHED, "abort", False)
    assert engine.step() == []


def test_a_row_whose_logits_are_not_numbers_fails_alone(rope96: Phi4MM, monkeypatch: pytest.MonkeyPatch) -> None:
    """One poisoned row must not end the answers beside it."""
    good, bad = make_prompt("good", [], 5), make_prompt("bad", [], 5)
    alone = run(rope96, [good], FOUR)[0]
    engine = Engine(rope96, eos_ids=())
    first, second = engine.add(bad, FOUR), engine.add(good, FOUR)

    def poisoned(logits: torch.Tensor, *rest: object) -> int:
        return sample(logits * torch.nan if rest[1] == bad.ids else logits, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("phi4mm.engine.runner.sample", poisoned)
    while engine.busy:
        engine.step()
    assert isinstance(first.error, EngineError)
    assert first.id in str(first.error)
    assert second.answer == alone


def test_a_row_whose_media_cannot_be_encoded_fails_alone(rope96: Phi4MM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Running out of memory over one recording must not end the answers beside it."""
    text = make_prompt("text", [], 5)
    alone = run(rope96, [text], FOUR)[0]

    def failing(model: Phi4MM, prompt: Prompt, device: torch.device) -> None:
        if prompt.spans:
            raise RuntimeError("not enough memory")

    monkeypatch.setattr("phi4mm.engine.runner.encode_media", failing)
    engine = Engine(rope96, eos_ids=())
    heard, read = engine.add(make_prompt("clip", [clip(8000)], 2), FOUR), engine.add(text, FOUR)
    while engine.busy:
        engine.step()
    assert "not enough memory" in str(heard.error)
    assert (heard.end_reason, read.answer) == ("error", alone)


def test_encoder_rows_that_do_not_fill_their_placeholders_are_caught(rope96: Phi4MM) -> None:
    """Both numbers are in the message; a silent shift of media rows would answer about another picture."""
    prompt = make_prompt("clip", [clip(8000)], 2)
    wrong = dataclasses.replace(prompt.spans[0], length=prompt.spans[0].length + 1)
    engine = Engine(rope96, eos_ids=())
    engine.add(Prompt((prompt.ids[0], prompt.ids[1], *prompt.ids[1:]), (wrong,)), FOUR)
    with pytest.raises(AssertionError, match="audio: 6 encoder rows for 7 placeholders"):
        engine.step()
