"""Forms of answers through the whole of phi4mm: nano, drawn from as wildly as can be, must still keep to them."""

from __future__ import annotations

import json
import re
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


def wild(seed: int, most: int = 200) -> SamplingParams:
    return SamplingParams(temperature=2.0, seed=seed, max_tokens=most)


@pytest.fixture(scope="module")
def nano() -> Model:
    return phi4mm.load("nano", device="cpu")


def requests(seed: int) -> list[ChatRequest]:
    """A sequence of each form, and one that is free."""
    return [
        ChatRequest("Describe the cat.", params=wild(seed), response_format=ResponseFormat(schema=SCHEMA)),
        ChatRequest("Which color?", params=wild(seed), response_format=ResponseFormat(choice=CHOICE)),
        ChatRequest("Say something.", params=wild(seed), response_format=ResponseFormat(regex=REGEX)),
        ChatRequest("How warm is it in Paris?", params=wild(seed), tools=[TOOL], tool_choice="weather"),
        ChatRequest("Hello.", params=wild(seed, 20)),
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
    assert [made.name for made in call.tool_calls] == ["weather"]
    assert call.tool_calls[0].arguments.keys() == {"city", "days"}
    assert 1 <= call.tool_calls[0].arguments["days"] <= 9
    assert [reply.finish_reason for reply in (schema, choice, regex, call)] == ["stop", "stop", "stop", "tool_calls"]


@pytest.mark.parametrize("seed", range(4))
def test_every_sequence_of_a_batch_keeps_to_its_own_form(nano: Model, seed: int) -> None:
    """Temperature 2 is noise: whatever slips past a mask, or through a neighbour's, shows here."""
    *formed, _ = nano.batch(requests(seed))
    check(*formed)


def test_forms_beside_it_do_not_change_a_sequence(nano: Model) -> None:
    """A mask that lands on the sequence beside it changes that sequence's answer."""
    together = nano.batch(requests(7))
    alone = [nano.batch([request])[0] for request in requests(7)]
    assert [reply.ids for reply in together] == [reply.ids for reply in alone]


def test_several_answers_to_one_question_each_keep_to_the_form(nano: Model) -> None:
    """They begin at one compiled grammar, and the tokens of one must not move the others on in it."""
    params = SamplingParams(temperature=2.0, seed=3, n=4, max_tokens=200)
    reply = nano.chat("Describe the cat.", params=params, response_format=ResponseFormat(schema=SCHEMA))
    answers = [reply, *reply.alternatives]
    assert len({answer.text for answer in answers}) == 4
    for answer in answers:
        check_schema(answer)


def test_a_small_model_that_knows_no_form_keeps_to_it(small: Model) -> None:
    """Synthetic weights like one token above all; greedy, the mask alone makes the answer."""
    form = ResponseFormat(choice=("blue circle", "green"))
    assert small.chat("hello", response_format=form, params=SamplingParams(max_tokens=30)).text in form.choice  # type: ignore[operator]


def test_a_form_that_turns_out_too_costly_fails_alone(
    small: Model, small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sequence ends with an error that says why; the others never notice."""

    class Costly:
        """Allows everything twice."""

        def __init__(self) -> None:
            self.left = 2

        def mask(self) -> npt.NDArray[np.int32] | None:
            if not self.left:
                raise InputError("the form is too costly")
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
    with pytest.raises(EngineError, match="the form is too costly"):
        failing.finish()
    assert fine.finish().ids == alone.ids


def test_an_impossible_form_is_refused_before_it_runs(small: Model) -> None:
    """Nothing of it may stay in the engine, where it would run for nobody."""
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
    asked = [ChatRequest("Play some jazz.", params=wild(s, 400), tools=[TOOL], tool_choice=choice) for s in range(6)]
    for reply in nano.batch(asked):
        ended = [reply] if reply.finish_reason != "length" else []
        assert all(call.name == "weather" for call in reply.tool_calls)
        assert all(call.arguments.keys() == {"city", "days"} for call in reply.tool_calls)
        assert all((each.finish_reason, each.content) == ("tool_calls", "") for each in ended)


def test_case_a10_what_a_structured_output_quotes_is_no_call(nano: Model) -> None:
    """A schema's string may speak of a call; taking it out would leave broken JSON."""
    form = ResponseFormat(choice=('Say functools[{"name": "weather", "arguments": {"city": "x"}}]',))
    prompt = nano.processor.chat([Message.user("Hello.")], tools=[TOOL])
    params = SamplingParams(max_tokens=200)
    reply = nano.submit(prompt, params, tools=[as_tool(TOOL)], grammar=grammar_source(form)).finish()
    assert (reply.text, reply.tool_calls, reply.content) == (form.choice[0], (), form.choice[0])  # type: ignore[index]
