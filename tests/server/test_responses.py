"""next.md (a) 6: the eight acceptance cases of Open Responses, with the official client."""

from __future__ import annotations

import base64
import json
from typing import Any

import psutil
import pytest

from tests.server.conftest import ROOT, RunningServer, start
from tests.server.strict import strictly

TOOL: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CALL = {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": "{}"}
# Fields that Open Responses requires and the client's type does not have.
MORE = {
    "Response": ("presence_penalty", "frequency_penalty", "store"),
    "Logprob": ("bytes",),
    "LogprobTopLogprob": ("bytes",),
}


def _image() -> str:
    return "data:image/png;base64," + base64.b64encode((ROOT / "examples" / "stop_sign.png").read_bytes()).decode()


CASES: dict[str, dict[str, Any]] = {
    "text": {"input": "Hello."},
    "items": {"input": [{"type": "message", "role": "user", "content": "Hello."}]},
    "system": {"input": "Hello.", "instructions": "Answer in one sentence."},
    "tool": {"input": "What is the weather in Paris?", "tools": [TOOL]},
    "image": {
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_image", "image_url": _image()},
                    {"type": "input_text", "text": "What is shown in this image?"},
                ],
            }
        ]
    },
    "turns": {
        "input": [
            {"role": "user", "content": "Hello."},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Hello!", "annotations": []}]},
            {"role": "user", "content": "Goodbye."},
        ]
    },
    "tool result": {
        "input": [
            {"role": "user", "content": "What is the weather in Paris?"},
            {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": '{"city": "Paris"}'},
            {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        ],
        "tools": [TOOL],
    },
    "logprobs": {"input": "Hello.", "include": ["message.output_text.logprobs"], "top_logprobs": 2},
}


@pytest.mark.parametrize("case", CASES)
def test_a6_whole_and_streamed_answers_agree_and_fit_the_types(server: RunningServer, case: str) -> None:
    """Ids begin with resp_, msg_ and fc_; numbers of events rise by one; deltas join to the item."""
    asked = {"model": "nano", **CASES[case]}
    answer = server.http.post("/v1/responses", json=asked)
    assert answer.status_code == 200, answer.text
    whole = strictly("Response", answer.json(), MORE)
    assert whole.id.startswith("resp_")
    assert whole.status == "completed"
    assert all(item.id.startswith("msg_" if item.type == "message" else "fc_") for item in whole.output)
    lines = server.http.post("/v1/responses", json={**asked, "stream": True}).text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    events = [json.loads(line.partition("data: ")[2]) for line in lines[:-2]]
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    for line, each in zip(lines, events, strict=False):
        assert line.startswith(f"event: {each['type']}\n")
        strictly("ResponseStreamEvent", each, MORE)
    last = events[-1]["response"]
    assert [events[0]["type"], events[1]["type"], events[-1]["type"]] == [
        "response.created",
        "response.in_progress",
        "response.completed",
    ]
    kind = "function_call_arguments" if whole.output[0].type == "function_call" else "output_text"
    joined = "".join(each["delta"] for each in events if each["type"] == f"response.{kind}.delta")
    mine = last["output"][0].get("arguments") or last["output"][0]["content"][0]["text"]
    theirs = getattr(whole.output[0], "arguments", None) or whole.output_text
    assert joined == mine == theirs != ""


def test_a6_the_client_streams_a_tool_call(server: RunningServer) -> None:
    """The official client builds the call from the events."""
    with server.client.responses.stream(model="nano", input="What is the weather in Paris?", tools=[TOOL]) as stream:
        for _ in stream:
            pass
        call: Any = stream.get_final_response().output[0]
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "get_weather", {"city": "Paris"})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]}, "input[0].content"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"input": [{"role": "assistant", "content": "x", "tool_calls": None}]}, "input[0].tool_calls"),
        ({"input": [{"role": "assistant", "content": "x", "tool_calls": 5}, CALL]}, "input[0].tool_calls"),
        ({"input": [{"content": "hi"}, CALL]}, "input"),
    ],
)
def test_a6_what_is_wrong_or_would_need_a_store_is_refused_by_name(
    server: RunningServer, fields: dict[str, Any], param: str
) -> None:
    """A conversation that is silently forgotten gives wrong answers."""
    answer = server.http.post("/v1/responses", json={"model": "nano", "input": "Hello.", **fields})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_an_answer_that_is_cut_is_incomplete(server: RunningServer) -> None:
    """The last event says so, and why."""
    whole = server.client.responses.create(model="nano", input="Hello.", max_output_tokens=2)
    assert whole.status == "incomplete"
    assert whole.incomplete_details is not None
    assert whole.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize("stream", [False, True])
def test_a_refused_image_is_a_fault_of_input(server: RunningServer, stream: bool) -> None:
    """There are no messages in this request; the status stands before the first event."""
    part = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    body = {"model": "nano", "input": [{"role": "user", "content": [part]}], "stream": stream}
    answer = server.http.post("/v1/responses", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, "input", "invalid_media")


@pytest.mark.parametrize("stopped", [False, True])
def test_an_answer_that_fails_while_it_streams_ends_with_response_failed(stopped: bool) -> None:
    """A client waits for an event that it knows, whether the worker dies or the server stops."""
    own = start("--shutdown-timeout", "0")
    try:
        own.wait_until_ready()
        asked = {"model": "nano", "input": "Hello.", "logit_bias": {"100": 100}, "stream": True}
        with own.http.stream("POST", "/v1/responses", json={**asked, "max_output_tokens": 20000}) as answer:
            lines = answer.iter_lines()
            next(line for line in lines if "output_text.delta" in line)
            children = psutil.Process(own.process.pid).children(recursive=True)
            worker = next(child for child in children if "phi4mm.engine.worker" in " ".join(child.cmdline()))
            (own.process.terminate if stopped else worker.kill)()
            *_, before, name, data = [line for line in lines if line]
    finally:
        own.stop()
    assert name == "event: response.failed"
    failed = strictly("ResponseFailedEvent", json.loads(data.removeprefix("data: ")), MORE)
    assert failed.sequence_number == json.loads(before.removeprefix("data: "))["sequence_number"] + 1
    assert (failed.response.status, failed.response.error.code) == ("failed", "server_error")
    assert "signal" not in failed.response.error.message
    assert failed.response.output[0].status == "incomplete"
