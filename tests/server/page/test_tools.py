"""Tools: declared as JSON, calls shown while they come, results typed and sent."""

from __future__ import annotations

import json

from tests.server.page.chromium import Page
from tests.server.page.conftest import ask
from tests.server.page.fake_server import Answer, FakeServer

TOOL = {"name": "get_weather", "description": "d", "parameters": {"type": "object", "properties": {}}}


def declare(page: Page, text: str) -> None:
    page.click("#tools-button")
    page.wait("document.querySelector('dialog #tools')")
    page.type(text, into="#tools")
    page.click("dialog .primary")


def test_a_tool_is_declared_called_and_answered(page: Page, server: FakeServer) -> None:
    """The whole way: declaration, streamed arguments with nesting, typed result, the answer that follows."""
    declare(page, json.dumps([TOOL]))
    page.wait("!document.querySelector('dialog')")
    arguments = {"city": "Nîmes", "days": [1, {"two": "}{"}]}
    server.answers.append(Answer(("Let me look.",), calls=(("get_weather", json.dumps(arguments)), ("get_time", "{}"))))
    server.answers.append(Answer(("Sunny.",)))
    ask(page, "Weather?")
    assert server.requests[0]["tools"] == [{"type": "function", "function": TOOL}]
    assert page.js("[...document.querySelectorAll('.call h3 code')].map((n) => n.innerText)") == [
        "get_weather",
        "get_time",
    ]
    assert json.loads(page.js("document.querySelector('.call pre').innerText")) == arguments
    page.type('{"sky": "clear"}', into="#result-0")
    page.type("noon", into="#result-1")
    page.click(".results .primary")
    page.wait("document.querySelectorAll('.answer:not(.streaming)').length === 2")
    call, first, second = server.requests[1]["messages"][1:]
    assert [(one["id"], json.loads(one["function"]["arguments"])) for one in call["tool_calls"]] == [
        ("call_0", arguments),
        ("call_1", {}),
    ]
    assert first == {"role": "tool", "tool_call_id": "call_0", "content": '{"sky": "clear"}'}
    assert second == {"role": "tool", "tool_call_id": "call_1", "content": "noon"}
    assert page.text(".answer:last-child .prose") == "Sunny."
    assert not page.js("document.querySelector('.results')")
    assert "noon" in page.text(".call:nth-of-type(2)")


def test_a_wrong_declaration_is_told_and_not_kept(page: Page, server: FakeServer) -> None:
    """A declaration that the server refuses later would cost the reader the message."""
    for text, words in (
        ("{", "must be JSON"),
        ('[{"parameters": {}}]', "Tool 1 has no name"),
        ('[{"name": "a"}, 3]', "Tool 2 has no name"),
    ):
        declare(page, text)
        page.wait(f"document.querySelector('.problem:not([hidden])')?.innerText.includes('{words}')")
        page.press("Escape")
        page.wait("!document.querySelector('dialog')")
    ask(page, "Hello")
    assert "tools" not in server.requests[0]
    page.click("#tools-button")
    page.click("dialog .row.end .button:not(.primary)")
    page.click("dialog .primary")
    page.wait("!document.querySelector('dialog') && document.querySelector('#tools-button').classList.contains('on')")
    ask(page, "Hello")
    assert server.requests[1]["tools"][0]["function"]["name"] == "get_weather"


def test_calls_without_results_are_left_out_of_the_next_request(page: Page, server: FakeServer) -> None:
    """Whoever writes on in place of a result must get an answer: servers refuse calls without results."""
    server.answers.append(Answer(("Looking.",), calls=(("get_weather", "{}"),)))
    ask(page, "Weather?")
    ask(page, "Never mind.")
    assert server.requests[1]["messages"][1] == {"role": "assistant", "content": "Looking."}


def test_calls_out_of_order_end_the_answer(page: Page, server: FakeServer) -> None:
    """An index of a thousand million must not make a list of that length."""
    for index in ("1000000000", "-1", "0.5", '"0"'):
        chunk = (
            b'data: {"choices": [{"delta": {"tool_calls": [{"index": %s, "function": {"name": "a"}}]}}]}\n\n'
            % index.encode()
        )
        server.answers.append(Answer(raw=chunk))
        ask(page, "Hello")
        assert "out of order" in page.text(".message:last-child .failure")


def test_calls_of_the_same_ids_in_two_answers_are_two(page: Page, server: FakeServer) -> None:
    """Some servers number the calls of each answer from 0: the second one waits for its own result."""
    server.answers.extend([Answer(calls=(("first", "{}"),)), Answer(calls=(("second", "{}"),)), Answer(("Done.",))])
    ask(page, "Hello")
    for n, text in enumerate(("one", "two"), 2):
        page.type(text, into="#result-0")
        page.click(".results .primary")
        page.wait(f"document.querySelectorAll('.answer:not(.streaming)').length === {n}")
    sent = [(message["role"], message.get("content")) for message in server.requests[2]["messages"]]
    assert sent == [("user", "Hello"), ("assistant", ""), ("tool", "one"), ("assistant", ""), ("tool", "two")]
