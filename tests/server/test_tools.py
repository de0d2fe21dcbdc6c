"""Tools and structured output over HTTP."""

from __future__ import annotations

import json
from typing import Any

from tests.server.conftest import RunningServer

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
QUESTION: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]


def test_a_call_streams_as_it_comes_whole(server: RunningServer) -> None:
    """Peers drop calls while they stream; the deltas must join to the same call."""
    asked: dict[str, Any] = {"model": "nano", "messages": QUESTION, "tools": [WEATHER]}
    whole = server.client.chat.completions.create(**asked).choices[0]
    assert whole.finish_reason == "tool_calls"
    assert whole.message.tool_calls is not None
    call = whole.message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"})
    deltas: list[Any] = []
    finish = None
    for chunk in server.client.chat.completions.create(**asked, stream=True):
        deltas += chunk.choices[0].delta.tool_calls or []
        assert not chunk.choices[0].delta.content
        finish = chunk.choices[0].finish_reason or finish
    assert finish == "tool_calls"
    assert (deltas[0].index, deltas[0].type, deltas[0].function.name) == (0, "function", "get_weather")
    assert deltas[0].id.startswith("call")
    assert "".join(delta.function.arguments for delta in deltas) == call.function.arguments


def test_a_called_tool_can_be_answered(server: RunningServer) -> None:
    """The message of the answer goes back as the client's own type, with the tool's result."""
    first = server.client.chat.completions.create(model="nano", messages=QUESTION, tools=[WEATHER])
    message = first.choices[0].message
    assert message.tool_calls is not None
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}
    messages: list[Any] = [*QUESTION, message.model_dump(), result]
    assert server.client.chat.completions.create(model="nano", messages=messages, tools=[WEATHER]).choices


def test_tool_choice_none_and_required(server: RunningServer) -> None:
    """`none` never calls, `required` always does."""
    asked: dict[str, Any] = {"model": "nano", "tools": [WEATHER]}
    never = server.client.chat.completions.create(messages=QUESTION, tool_choice="none", max_tokens=20, **asked)
    hello: list[Any] = [{"role": "user", "content": "Hello."}]
    always = server.client.chat.completions.create(messages=hello, tool_choice="required", **asked)
    assert never.choices[0].message.tool_calls is None
    assert always.choices[0].finish_reason == "tool_calls"


def test_structured_output_fits_its_schema_and_calls_nothing(server: RunningServer) -> None:
    """What stands in a string of a structured output is no call, streamed either."""
    schema = {"type": "object", "properties": {"city": {"enum": ["Paris"]}}, "required": ["city"]}
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema | {"additionalProperties": False}}}
    asked: dict[str, Any] = {"model": "nano", "messages": QUESTION, "response_format": form}
    whole = server.client.chat.completions.create(**asked).choices[0].message.content
    assert json.loads(whole or "") == {"city": "Paris"}
    chunks = server.client.chat.completions.create(**asked, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole


def test_a_schema_that_cannot_be_held_is_400(server: RunningServer) -> None:
    """It is refused by name before anything runs."""
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "no such type"}}}
    assert server.chat(response_format=form).status_code == 400
