"""Structured output through the public API: nano must follow it even at a high temperature."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import phi4mm
from phi4mm import ChatRequest, EngineError, InputError, Message, Reply, ResponseFormat, SamplingParams
from phi4mm.inference.model import Model
from phi4mm.processing.grammar import grammar_source
from phi4mm.processing.structured import Grammars
from phi4mm.processing.tool_calls import as_tool

SCHEMA = {
    "type": "object",
    "properties": {
        "animal": {"type": "string", "maxLength": 20},
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
        "colors": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 3},
    },
    "required": ["animal", "count", "colors"],
    "additionalProperties": False,
}
CHOICE = ("red", "green", "dark green")
REGEX = r"[A-Z][a-z]{1,8}( [a-z]{1,8}){0,3}\."
TOOL = {
    "name": "weather",
    "description": "of a city",
    "parameters": {"city": {"type": "str", "maxLength": 20}, "days": {"type": "int", "minimum": 1, "maximum": 9}},
}


def noisy(seed: int, max_tokens: int = 200) -> SamplingParams:
    return SamplingParams(temperature=2.0, seed=seed, max_tokens=max_tokens)


@pytest.fixture(scope="module")
def nano() -> Model:
    return phi4mm.load("nano", device="cpu")


def requests(seed: int) -> list[ChatRequest]:
    """A request of each kind of structured output, and one without."""
    return [
        ChatRequest("Describe the cat.", params=noisy(seed), response_format=ResponseFormat(schema=SCHEMA)),
        ChatRequest("Which color?", params=noisy(seed), response_format=ResponseFormat(choice=CHOICE)),
        ChatRequest("Say something.", params=noisy(seed), response_format=ResponseFormat(regex=REGEX)),
        ChatRequest("How warm is it in Paris?", params=noisy(seed), tools=[TOOL], tool_choice="weather"),
        ChatRequest("Hello.", params=noisy(seed, 20)),
    ]


def check_schema(reply: Reply) -> None:
    value = json.loads(reply.text)
    assert value.keys() == {"animal", "count", "colors"}
    assert len(value["animal"]) <= 20
    assert 0 <= value["count"] <= 99
    assert isinstance(value["count"], int)
    assert set(value["colors"]) <= {"red", "green", "blue"}


def check(schema: Reply, choice: Reply, regex: Reply, call: Reply) -> None:
    check_schema(schema)
    assert choice.text in CHOICE
    assert re.fullmatch(REGEX, regex.text)
    assert [tool_call.name for tool_call in call.tool_calls] == ["weather"]
    assert call.tool_calls[0].arguments.keys() == {"city", "days"}
    assert 1 <= call.tool_calls[0].arguments["days"] <= 9
    assert [reply.finish_reason for reply in (schema, choice, regex, call)] == ["stop", "stop", "stop", "tool_calls"]


@pytest.mark.parametrize("seed", range(4))
def test_every_request_of_a_batch_follows_its_own_response_format(nano: Model, seed: int) -> None:
    """At temperature 2 tokens are nearly random, so a missing mask or that of another sequence is noticed."""
    *structured, _ = nano.batch(requests(seed))
    check(*structured)


def test_structured_output_of_other_sequences_does_not_change_an_answer(nano: Model) -> None:
    """A mask that is applied to a wrong sequence changes the answer of that sequence."""
    together = nano.batch(requests(7))
    alone = [nano.batch([request])[0] for request in requests(7)]
    assert [reply.ids for reply in together] == [reply.ids for reply in alone]


def test_several_answers_to_one_question_each_follow_the_schema(nano: Model) -> None:
    """They share one compiled grammar; the tokens of one answer must not advance the state of the others."""
    params = SamplingParams(temperature=2.0, seed=3, n=4, max_tokens=200)
    reply = nano.chat("Describe the cat.", params=params, response_format=ResponseFormat(schema=SCHEMA))
    answers = [reply, *reply.alternatives]
    assert len({answer.text for answer in answers}) == 4
    for answer in answers:
        check_schema(answer)


def test_a_model_without_training_follows_a_choice(small: Model) -> None:
    """Synthetic weights nearly always prefer one token, so with greedy sampling the mask decides the answer."""
    choice = ResponseFormat(choice=("blue circle", "green"))
    assert small.chat("hello", response_format=choice, params=SamplingParams(max_tokens=30)).text in choice.choice  # type: ignore[operator]


def test_a_grammar_that_becomes_too_costly_fails_alone(
    small: Model, small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sequence ends with an error that says why; the others go on."""

    class Costly:
        """Allows every token for two tokens, then fails."""

        def __init__(self) -> None:
            self.left = 2

        def mask(self) -> npt.NDArray[np.int32] | None:
            if not self.left:
                raise InputError("the grammar is too costly")
            return None

        def accept(self, token: int) -> None:
            self.left -= 1

        def fork(self) -> Costly:
            raise NotImplementedError("one answer only")

    monkeypatch.setattr(Grammars, "start", lambda self, source: Costly())
    params = SamplingParams(max_tokens=8)
    prompt = small.processor.chat([Message.user("hello world")])
    alone = small.submit(prompt, params).finish()
    model = phi4mm.load(small_folder, device="cpu")
    failing, fine = model.submit(prompt, params, grammar="costly"), model.submit(prompt, params)
    with pytest.raises(EngineError, match="the grammar is too costly"):
        failing.finish()
    assert fine.finish().ids == alone.ids


def test_an_impossible_response_format_is_refused_before_it_runs(small: Model) -> None:
    """Nothing of the request may stay in the engine, where it would run on."""
    with pytest.raises(InputError, match="no text fits it"):
        small.chat("hello", response_format=ResponseFormat(schema={"$ref": "#"}))
    with pytest.raises(InputError, match="tool_choice is 'required'"):
        small.chat("hello", tool_choice="required")


def test_case_a9_an_undeclared_call_is_text(nano: Model) -> None:
    """Nano knows thirteen tools by heart and calls one that was not offered."""
    reply = nano.chat("Play some jazz.", tools=[{"name": "get_weather", "parameters": {"city": {"type": "str"}}}])
    assert "play_music" in reply.text
    assert (reply.tool_calls, reply.finish_reason, reply.content) == ((), "stop", reply.text)


@pytest.mark.parametrize("choice", ["required", "weather"])
def test_case_a9_under_a_forced_choice_only_declared_calls_arise(nano: Model, choice: str) -> None:
    """A server that forces a call relies on getting one of those that it declared."""
    asked = [ChatRequest("Play some jazz.", params=noisy(s, 400), tools=[TOOL], tool_choice=choice) for s in range(6)]
    for reply in nano.batch(asked):
        ended = [reply] if reply.finish_reason != "length" else []
        assert all(call.name == "weather" for call in reply.tool_calls)
        assert all(call.arguments.keys() == {"city", "days"} for call in reply.tool_calls)
        assert all((each.finish_reason, each.content) == ("tool_calls", "") for each in ended)


def test_with_the_choice_of_no_tool_nothing_is_called(nano: Model) -> None:
    """Nano knows the tool by heart: its call is text, as the prompt does not offer the tool either."""
    reply = nano.chat("How warm is it in Paris?", tools=[TOOL], tool_choice="none")
    assert (reply.tool_calls, reply.content, reply.finish_reason) == ((), reply.text, "stop")
    assert reply.usage == nano.chat("How warm is it in Paris?").usage
    assert nano.chat("How warm is it in Paris?", tools=[TOOL]).usage.prompt_tokens > reply.usage.prompt_tokens


def test_without_parallel_calls_nano_makes_one_at_most(nano: Model) -> None:
    """At a high temperature too, after words or alone; words alone are as free as without the setting."""
    asked = [
        ChatRequest(
            "How warm is it?", params=noisy(seed, 300), tools=[TOOL], tool_choice=choice, parallel_tool_calls=False
        )
        for seed in range(4)
        for choice in ("auto", "required")
    ]
    replies = nano.batch(asked)
    assert all(len(reply.tool_calls) <= 1 for reply in replies)
    assert any(reply.tool_calls for reply in replies)
    greedy = nano.chat("How warm is it in Paris?", tools=[TOOL], parallel_tool_calls=False)
    assert [call.name for call in greedy.tool_calls] == ["weather"]
    words = nano.chat("Hello.", tools=[TOOL], parallel_tool_calls=False)
    assert (words.text, words.content) == (nano.chat("Hello.", tools=[TOOL]).text, words.text)


def test_words_before_the_one_call_are_content(nano: Model) -> None:
    """Beside a response format, words turn calls into text; here they must not."""
    said = 'Let me see. functools[{"name": "weather", "arguments": {"city": "Oslo", "days": 3}}]'
    free = grammar_source(None, [as_tool(TOOL)], parallel_tool_calls=False)
    assert free is not None
    grammar = free.splitlines()[0] + f"\nwords: {json.dumps(said)}\n"  # of the answers that it allows, one
    prompt = nano.processor.chat([Message.user("Hello.")])
    reply = nano.submit(prompt, SamplingParams(max_tokens=99), tools=[as_tool(TOOL)], grammar=grammar).finish()
    assert (reply.text, reply.content) == (said, "Let me see.")
    assert [call.name for call in reply.tool_calls] == ["weather"]


def test_nano_answers_with_a_json_object(nano: Model) -> None:
    """OpenAI's json_object: any object, and nothing but it."""
    object_ = ResponseFormat(json_object=True)
    replies = nano.batch([ChatRequest("The cat.", params=noisy(s, 400), response_format=object_) for s in range(6)])
    ended = [reply for reply in replies if reply.finish_reason == "stop"]
    assert ended
    assert all(isinstance(json.loads(reply.text), dict) for reply in ended)


def test_case_a10_what_a_structured_output_quotes_is_no_call(nano: Model) -> None:
    """A schema's string may speak of a call; taking it out would leave broken JSON."""
    form = ResponseFormat(choice=('Say functools[{"name": "weather", "arguments": {"city": "x"}}]',))
    prompt = nano.processor.chat([Message.user("Hello.")], tools=[TOOL])
    params = SamplingParams(max_tokens=200)
    reply = nano.submit(prompt, params, tools=[as_tool(TOOL)], grammar=grammar_source(form)).finish()
    assert (reply.text, reply.tool_calls, reply.content) == (form.choice[0], (), form.choice[0])  # type: ignore[index]


def test_case_b6_a_costly_regular_expression_does_not_hold_up_other_answers(nano: Model) -> None:
    """A stream beside it waited for each of its masks: 15 s for an answer of 1.4 s."""
    integers = ResponseFormat(schema={"type": "array", "minItems": 10**6, "items": {"type": "integer"}})
    costly = ResponseFormat(regex="a{100000}")
    gaps: list[float] = []
    with (
        ThreadPoolExecutor(1) as pool,
        nano.stream("Count.", params=noisy(3, 1000), response_format=integers) as stream,
    ):
        next(stream)
        other = pool.submit(nano.chat, "Hello.", params=noisy(1, 512), response_format=costly)
        before = time.monotonic()
        for _ in stream:
            gaps.append((now := time.monotonic()) - before)
            before = now
        assert other.result().text == "a" * 512
    assert max(gaps) < 1  # while the grammar is compiled
    assert sum(gap for gap in gaps if gap > 0.02) < 2
