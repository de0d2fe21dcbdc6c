"""next.md (a) 7: answers of every route validate strictly against the official client's own types."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from tests.server.conftest import ROOT, RunningServer
from tests.server.strict import strictly
from tests.server.test_tools import QUESTION, WEATHER

STOP_SIGN = "data:image/png;base64," + base64.b64encode((ROOT / "examples" / "stop_sign.png").read_bytes()).decode()
SPEECH = base64.b64encode((ROOT / "examples" / "speech.flac").read_bytes()).decode()
HELLO: list[Any] = [{"role": "user", "content": "Hello."}]
CHATS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two with logprobs": {"n": 2, "logprobs": True, "top_logprobs": 2, "temperature": 1, "seed": -3, "max_tokens": 6},
    "stop": {"stop": ["How"]},
    "tools": {"messages": QUESTION, "tools": [WEATHER], "parallel_tool_calls": False},
    "object": {"response_format": {"type": "json_object"}, "max_tokens": 8},
    "image": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": STOP_SIGN}},
                    {"type": "text", "text": "What is shown in this image?"},
                ],
            }
        ]
    },
    "audio": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "input_audio", "input_audio": {"data": SPEECH, "format": "flac"}},
                    {"type": "text", "text": "Transcribe the audio clip into text."},
                ],
            }
        ]
    },
}


def _events(text: str) -> list[Any]:
    *events, last, empty = text.split("\n\n")
    assert (last, empty) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


@pytest.mark.parametrize("case", CHATS)
def test_a7_chats_fit_the_types_and_streams_join_to_the_whole(server: RunningServer, case: str) -> None:
    """A strict client refuses what a lenient one passes on."""
    answer = server.chat(**CHATS[case])
    assert answer.status_code == 200, answer.text
    whole = strictly("ChatCompletion", answer.json())
    usage = whole.usage.prompt_tokens_details
    assert usage.text_tokens + usage.image_tokens + usage.audio_tokens == whole.usage.prompt_tokens
    assert (usage.image_tokens > 0, usage.audio_tokens > 0) == (case == "image", case == "audio")
    events = _events(server.chat(**CHATS[case], stream=True, stream_options={"include_usage": True}).text)
    chunks = [strictly("ChatCompletionChunk", event) for event in events]
    assert [chunk.usage is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    for choice in whole.choices:
        mine = [each for chunk in chunks for each in chunk.choices if each.index == choice.index]
        assert "".join(each.delta.content or "" for each in mine) == (choice.message.content or "")
        assert mine[-1].finish_reason == choice.finish_reason
        if choice.logprobs is not None:
            streamed = [entry.token for each in mine if each.logprobs for entry in each.logprobs.content]
            assert streamed == [entry.token for entry in choice.logprobs.content]
            assert "".join(streamed) == choice.message.content


def test_a7_images_and_audio_get_the_answers_of_the_library(server: RunningServer) -> None:
    """The media reach the model as they do from Python."""
    texts = [server.chat(**CHATS[case]).json()["choices"][0]["message"]["content"] for case in ("image", "audio")]
    assert texts[0] == "A stop sign."
    assert len(texts[1].split()) > 3


def test_a7_completions_and_models_fit_the_types(server: RunningServer) -> None:
    """The older route and the list of models, too."""
    body = {"model": "nano", "prompt": "<|user|>Hello.<|end|><|assistant|>", "logprobs": 2, "n": 2, "max_tokens": 5}
    strictly("Completion", server.http.post("/v1/completions", json=body).json())
    for event in _events(server.http.post("/v1/completions", json={**body, "stream": True}).text):
        for choice in event["choices"]:  # OpenAI's own events have null until the end; the type has no word for it
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        strictly("Completion", event)
    cards = server.http.get("/v1/models").json()
    assert cards["object"] == "list"
    assert [strictly("Model", card).id for card in cards["data"]] == ["nano", "vision", "speech"]
    assert strictly("Model", server.http.get("/v1/models/speech").json()).owned_by == "nano"


def test_an_adapter_is_a_model_of_its_own(server: RunningServer) -> None:
    """Its name in `model` chooses it, whatever the media are."""
    assert server.chat(model="vision").json()["model"] == "vision"
    assert server.http.get("/v1/models/none").status_code == 404


@pytest.mark.parametrize("body", [b"", b"[]", b"3", b'"x"', b"null", b"{", b"\xff", b"[" * 100000, b'{"a":NaN}'])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/tokenize"])
def test_a10_a_body_that_is_no_object_is_400(server: RunningServer, path: str, body: bytes) -> None:
    """Not 500, and the next request is answered."""
    answer = server.http.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("stream", [False, True])
def test_a10_a_prompt_over_the_context_names_both_numbers_before_the_first_byte(
    server: RunningServer, stream: bool
) -> None:
    """A status after the first byte is none."""
    answer = server.http.post(
        "/v1/completions", json={"model": "nano", "prompt": [5] * 140000, "stream": stream}, timeout=60
    )
    assert answer.status_code == 400
    assert "140000" in answer.text
    assert "131072" in answer.text or "16384" in answer.text, answer.text


def test_a10_control_characters_begin_no_log_line(server: RunningServer) -> None:
    """A client that writes log lines can hide what it does."""
    server.log.clear()
    answer = server.http.get("/v1/models/x%0aERROR%20forged", headers={"x-request-id": "a%0ab c"})
    assert answer.status_code == 404
    assert answer.headers["x-request-id"].startswith("req-")
    assert server.http.get("/health", headers={"x-request-id": "my-id.1"}).headers["x-request-id"] == "my-id.1"
    assert server.http.post("/v1/files", json={}).status_code == 501
    assert server.http.post("/v1/chat/completions", content=b"{}").status_code == 415
    assert server.http.get("/v1/chat/completions").status_code == 405
    end = time.monotonic() + 20
    while not (lines := [json.loads(line) for line in server.log.copy()]) or lines[-1]["status"] != 405:
        assert time.monotonic() < end, "the last request was not logged"
        time.sleep(0.05)
    assert [line["status"] for line in lines] == [404, 200, 501, 415, 405]
    assert [line["request_id"] for line in lines[:2]] == [answer.headers["x-request-id"], "my-id.1"]
    assert "forged" not in "".join(server.log)
