"""POST /v1/chat/completions with the official client."""

from __future__ import annotations

import pytest

from tests.server.conftest import RunningServer

HELLO = [{"role": "user", "content": "Hello."}]


def test_an_answer_is_the_models_own(server: RunningServer) -> None:
    """What the library answers, the server answers."""
    reply = server.client.chat.completions.create(model="nano", messages=HELLO)  # type: ignore[arg-type]
    assert reply.choices[0].message.content == "Hello! How can I help you?"
    assert reply.choices[0].finish_reason == "stop"


def test_a_streamed_answer_joins_to_the_whole_one(server: RunningServer) -> None:
    """Pieces that are lost or doubled would show here."""
    whole = server.client.chat.completions.create(model="nano", messages=HELLO)  # type: ignore[arg-type]
    chunks = list(
        server.client.chat.completions.create(  # type: ignore[call-overload]
            model="nano", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"functions": []}, "functions"),
        ({"temprature": 1}, "temprature"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"logit_bias": {"a": 1}}, "logit_bias"),
        ({"tool_choice": "required"}, None),
    ],
)
def test_a_wrong_field_is_named(server: RunningServer, fields: dict[str, object], param: str | None) -> None:
    """A client finds the field that it has to change."""
    answer = server.chat(**fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_an_unknown_model_is_404(server: RunningServer) -> None:
    """A misspelt name is not answered by another model."""
    answer = server.chat(model="nan")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
