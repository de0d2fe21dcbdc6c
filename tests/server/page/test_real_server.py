"""The page on the real server: what it sends is what the server takes, and what comes back is what it shows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from phi4mm.server.page_files import page_files
from tests.server.conftest import RunningServer, start
from tests.server.page.chromium import Browser, Page
from tests.server.page.conftest import ask

EXAMPLES = Path(__file__).parents[3] / "examples"
KEY = "a-key-for-the-page"


@pytest.fixture(scope="module")
def real() -> Iterator[RunningServer]:
    running = start("--api-key", KEY, key=KEY)
    assert running.process.stderr is not None
    # A page asks for 45 files, each a line of the log: a pipe that nobody reads is full after a few pages.
    threading.Thread(target=running.process.stderr.read, daemon=True).start()
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.stop()


@pytest.fixture
def chat(browser: Browser, real: RunningServer) -> Iterator[Page]:
    """The page after the key was typed."""
    page = browser.page(f"{real.url}/")
    page.wait("document.querySelector('dialog #api-key')")
    page.type(KEY, into="#api-key")
    page.click("dialog .primary")
    page.wait("document.querySelector('#model').value === 'nano' && !document.querySelector('dialog')")
    yield page
    assert page.faults() == []
    page.close()


def test_the_files_need_no_key_and_have_the_policy(real: RunningServer) -> None:
    """Without the files nobody could type the key; the routes behind it stay closed."""
    for path, file in page_files().items():
        answer = real.http.get(path, headers={"authorization": ""})
        assert (answer.status_code, answer.content) == (200, file.body), path
        assert {name: answer.headers[name] for name in file.headers} == dict(file.headers)
    tag = page_files()["/"].headers["ETag"]
    assert real.http.get("/", headers={"if-none-match": tag}).status_code == 304
    assert real.http.get("/v1/models", headers={"authorization": ""}).status_code == 401
    assert real.http.get("/page_headers.py").status_code == real.http.get("/../page_files.py").status_code == 404


def test_nano_answers_about_an_image(chat: Page) -> None:
    """The whole way: file, data URI, vision adapter, stream, Markdown, usage."""
    chat.files("#files", EXAMPLES / "stop_sign.png")
    chat.wait("document.querySelector('#attachments img')")
    ask(chat, "What is shown in this image?")
    assert "stop" in chat.text(".answer .prose").lower()
    assert "tokens" in chat.text(".answer .figures")


def test_nano_hears_a_clip(chat: Page) -> None:
    """Sound goes as input_audio, in the format of the file."""
    chat.files("#files", EXAMPLES / "speech.flac")
    chat.wait("document.querySelector('#attachments audio')")
    ask(chat, "Transcribe the audio clip into text.")
    assert len(chat.text(".answer .prose").split()) >= 3
    assert not chat.js("document.querySelector('.failure')")


def test_nano_calls_a_tool_and_takes_its_result(chat: Page) -> None:
    """Declared, called, answered: the ids of the real server come back to it."""
    chat.click("#tools-button")
    chat.type(
        '[{"name": "get_weather", "description": "Get the weather in a city.", "parameters": {"type": "object",'
        ' "properties": {"city": {"type": "string"}}, "required": ["city"]}}]',
        into="#tools",
    )
    chat.click("dialog .primary")
    chat.wait("!document.querySelector('dialog')")
    ask(chat, "What is the weather in Paris?")
    assert chat.text(".call h3 code") == "get_weather" and "Paris" in chat.text(".call pre")
    chat.type('{"weather": "sunny"}', into="#result-0")
    chat.click(".results .primary")
    chat.wait("document.querySelectorAll('.answer:not(.streaming)').length === 2")
    assert not chat.js("document.querySelector('.failure')")


def test_a_refusal_of_the_server_is_shown_in_its_words(chat: Page) -> None:
    """A setting that the server refuses must be named, not swallowed."""
    chat.click("#settings")
    chat.js(
        "const s = document.querySelector('#setting-format'); s.value = 'json_schema';"
        " s.dispatchEvent(new Event('change'))"
    )
    chat.type('{"type": "no-such-type"}', into="#setting-schema")
    chat.click("dialog .primary")
    chat.wait("!document.querySelector('dialog')")
    ask(chat, "Hello.")
    assert "type" in chat.text(".failure p")
