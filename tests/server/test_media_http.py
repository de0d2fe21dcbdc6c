"""The corpus over HTTP: what is refused gets its status and says nothing of the server, which goes on as before."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.server.conftest import RunningServer
from tests.server.corpus import audio, images
from tests.server.corpus.case import Case
from tests.server.corpus.text import CONVERSATIONS, Conversation
from tests.server.corpus.urls import REFUSED

REFUSED_IMAGES = [case for case in images.cases() if case.refused is not None]
REFUSED_CLIPS = [case for case in audio.cases() if case.refused is not None]


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def clip(data: bytes) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": base64.b64encode(data).decode(), "format": "wav"}}


GOOD = [{"role": "user", "content": [image(uri(images.encoded("PNG"))), clip(audio.wav(audio.pcm(9_000)))]}]


@pytest.fixture(scope="module")
def answer(server: RunningServer) -> str:
    """What the server says to the good request at first."""
    return said(server)


def said(server: RunningServer) -> str:
    found = server.chat(messages=GOOD, max_tokens=4)
    assert found.status_code == 200, found.text
    text: str = found.json()["choices"][0]["message"]["content"]
    return text


def refused(server: RunningServer, content: Any, status: int) -> str:
    """The words of a refusal with this status."""
    return refused_messages(server, [{"role": "user", "content": content}], status)


def refused_messages(server: RunningServer, messages: Any, status: int) -> str:
    """The same of whole messages. The client's own JSON cannot hold a lone surrogate."""
    body = json.dumps({"model": "nano", "messages": messages})
    headers = {"content-type": "application/json"}
    found = server.http.post("/v1/chat/completions", content=body, headers=headers)
    error = found.json()["error"]
    assert found.status_code == status, error
    assert set(error) == {"message", "type", "param", "code"}
    message: str = error["message"]
    assert len(message) < 400 and "Traceback" not in message and "site-packages" not in message
    return message


@pytest.mark.parametrize("case", REFUSED_IMAGES, ids=lambda case: case.name)
def test_a_refused_image_gets_its_status(server: RunningServer, answer: str, case: Case) -> None:
    """Also the next good request is answered as before."""
    refused(server, [image(uri(case.make()))], case.status)
    assert said(server) == answer


@pytest.mark.parametrize("case", REFUSED_CLIPS, ids=lambda case: case.name)
def test_a_refused_clip_gets_its_status(server: RunningServer, answer: str, case: Case) -> None:
    """Also the next good request is answered as before."""
    refused(server, [clip(case.make())], case.status)
    assert said(server) == answer


def test_no_url_is_fetched_by_default(server: RunningServer, answer: str) -> None:
    """Each of these led another server to where it must not go."""
    for url in REFUSED:
        refused(server, [image(url)], 400)
    assert said(server) == answer


@pytest.mark.parametrize("case", [case for case in CONVERSATIONS if case.refused], ids=lambda case: case.name)
def test_a_refused_conversation_gets_400(server: RunningServer, answer: str, case: Conversation) -> None:
    """Before anything is computed for it."""
    refused_messages(server, case.messages, 400)
    assert said(server) == answer
