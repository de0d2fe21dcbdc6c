"""The page chats: streaming, Markdown, stop, regenerate, edit, errors; each action driven as a user would."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.server.page.chromium import SHIFT, Page
from tests.server.page.conftest import Opened, ask
from tests.server.page.fake_server import Answer, FakeServer

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_an_answer_streams_into_the_page(page: Page, server: FakeServer) -> None:
    """Words must be seen when they come, and the figures and the announcement at the end."""
    server.answers.append(Answer(tuple(f"word{n} " for n in range(20)), pause=0.05))
    page.type("Hello", into="#message")
    page.press("Enter")
    page.wait("document.querySelector('.answer.streaming .prose')?.innerText.includes('word2')")
    assert "word19" not in page.text(".answer")
    assert page.js("document.querySelector('.answer').getAttribute('aria-busy')") == "true"
    page.wait("document.querySelector('.answer:not(.streaming)')")
    assert "word19" in page.text(".answer .prose")
    assert "nano · 12 + 34 tokens" in page.text(".answer .figures")
    assert "word19" in page.text("#announcement")
    assert server.requests[0]["messages"] == [{"role": "user", "content": "Hello"}]
    assert server.requests[0]["stream"] is True and server.requests[0]["model"] == "nano"


def test_a_line_break_is_typed_with_shift(page: Page, server: FakeServer) -> None:
    """Enter alone sends; a message of two lines must be possible."""
    page.type("one", into="#message")
    page.press("Enter", SHIFT)
    page.type("two")
    page.press("Enter")
    page.wait("document.querySelector('.answer:not(.streaming)')")
    assert server.requests[0]["messages"][0]["content"] == "one\ntwo"


def test_stop_ends_the_answer_and_leaves_the_server(page: Page, server: FakeServer) -> None:
    """A reader who has seen enough keeps what came; the server must see that the client left."""
    server.answers.append(Answer(tuple("word " for _ in range(400)), pause=0.02))
    page.type("Hello", into="#message")
    page.press("Enter")
    page.wait("document.querySelector('.prose')?.innerText.includes('word')")
    page.click("#stop")
    page.wait("document.querySelector('.answer:not(.streaming)')?.innerText.includes('Stopped.')")
    assert server.left.wait(5)
    assert page.js("document.activeElement.id") == "message"
    ask(page, "Go on")
    assert [message["role"] for message in server.requests[1]["messages"]] == ["user", "assistant", "user"]


def test_another_answer_keeps_the_first(page: Page, server: FakeServer) -> None:
    """Answering again must lose nothing: both versions can be read."""
    server.answers.extend([Answer(("first",)), Answer(("second",))])
    ask(page, "Hello")
    page.click(".answer [aria-label='Answer again']")
    page.wait("document.querySelector('.answer .prose')?.innerText === 'second'")
    page.wait("document.querySelector('.versions')?.innerText.includes('2 / 2')")
    assert server.requests[1] == server.requests[0]
    page.click(".versions [aria-label='Version before']")
    page.wait("document.querySelector('.answer .prose').innerText === 'first'")


def test_an_edited_message_is_answered_and_the_old_one_kept(page: Page, server: FakeServer) -> None:
    """An edit goes on from its place; what followed the old message stays with it."""
    ask(page, "one")
    ask(page, "two")
    page.js("document.querySelector('.user [aria-label=Edit]').focus()")
    page.press("Enter")
    page.wait("document.activeElement.id.startsWith('edit-')")
    page.type("three", into=".editor textarea")
    page.click(".editor .primary")
    page.wait("document.querySelectorAll('.answer:not(.streaming)').length === 1")
    assert server.requests[2]["messages"] == [{"role": "user", "content": "three"}]
    page.click(".user .versions [aria-label='Version before']")
    page.wait("document.querySelectorAll('.answer').length === 2")


def test_markdown_becomes_elements(page: Page, server: FakeServer) -> None:
    """Answers are Markdown: each of its forms has its element."""
    text = (
        "# Title\n\nA **bold** and *soft* `code` word, [a link](https://example.org/a_b).\n\n"
        "- one\n  - inner\n- two\n\n3. three\n4. four\n\n| a | b |\n|:--|--:|\n| 1 | 2 |\n\n"
        "```python\nprint('**no**')\n```\n\n> said\n\n---\n~~gone~~"
    )
    server.answers.append(Answer(tuple(text[n : n + 3] for n in range(0, len(text), 3))))
    ask(page, "Hello")
    seen = page.js(
        "[...document.querySelector('.prose').querySelectorAll('*')].map((n) => n.tagName.toLowerCase()).join(' ')"
    ).split()
    for tag in "h3 strong em code a ul ol li table th td pre blockquote hr del".split():
        assert tag in seen, tag
    assert page.js("document.querySelector('.prose pre').innerText") == "print('**no**')"
    assert page.js("document.querySelector('.prose a').href") == "https://example.org/a_b"
    assert page.js("document.querySelector('.prose ol').start") == 3
    assert page.js("document.querySelector('.prose ul ul li').innerText") == "inner"
    assert page.js("getComputedStyle(document.querySelectorAll('.prose td')[1]).textAlign") == "end"


def test_code_and_answers_are_copied(page: Page, server: FakeServer) -> None:
    """What is copied is the text itself, not its look."""
    server.answers.append(Answer(("Take **this**:\n\n```sh\nls -l\n```\n",)))
    ask(page, "Hello")
    page.click(".prose .code [aria-label='Copy code']")
    page.wait("document.querySelector('.prose .copy').innerText.includes('Copied')")
    assert page.js("navigator.clipboard.readText()") == "ls -l"
    page.click(".answer .actions [aria-label='Copy answer']")
    page.wait("navigator.clipboard.readText().then((text) => text.startsWith('Take **this**'))")


def test_settings_reach_the_request_and_wrong_ones_are_told(page: Page, server: FakeServer) -> None:
    """A setting without effect, or one sent although it cannot be right, would mislead."""
    page.click("#settings")
    page.type("Be brief.", into="#setting-system")
    for name, value in {"temperature": "0.5", "top_p": "0.9", "max_tokens": "64", "seed": "7"}.items():
        page.type(value, into=f"#setting-{name}")
    page.js(
        "const s = document.querySelector('#setting-format'); s.value = 'json_schema';"
        " s.dispatchEvent(new Event('change'))"
    )
    page.type("[1]", into="#setting-schema")
    page.click("dialog .primary")
    assert "must be an object" in page.wait("document.querySelector('.problem:not([hidden])')?.innerText")
    page.type('{"type": "object"}', into="#setting-schema")
    page.type("3", into="#setting-temperature")
    page.click("dialog .primary")
    page.wait("document.querySelector('.problem').innerText.includes('Temperature must be a number from 0 to 2')")
    page.type("0.5", into="#setting-temperature")
    page.type("0", into="#setting-top_p")
    page.click("dialog .primary")
    page.wait("document.querySelector('.problem').innerText.includes('Top p must be a number from 0.01 to 1')")
    page.type("0.9", into="#setting-top_p")
    page.click("dialog .primary")
    page.wait("!document.querySelector('dialog')")
    ask(page, "Hello")
    body = server.requests[0]
    assert [body[name] for name in ("temperature", "top_p", "max_tokens", "seed")] == [0.5, 0.9, 64, 7]
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert body["response_format"]["json_schema"] == {"name": "answer", "strict": True, "schema": {"type": "object"}}
    page.click("#settings")
    page.click("dialog .row.end .button:not(.primary)")
    page.wait("!document.querySelector('dialog')")
    ask(page, "Again")
    assert not {"temperature", "seed", "response_format"} & set(server.requests[1])


def test_an_adapter_is_chosen_like_a_model(page: Page, server: FakeServer) -> None:
    """Adapters stand below their model, and the choice is remembered."""
    assert page.js("document.querySelector('#model optgroup').label") == "Adapters of nano"
    page.js("const s = document.querySelector('#model'); s.value = 'poet'; s.dispatchEvent(new Event('change'))")
    ask(page, "Hello")
    assert server.requests[0]["model"] == "poet"
    page.open(server.address)
    assert page.js("document.querySelector('#model').value") == "poet"


@pytest.mark.parametrize("keep", [False, True])
def test_a_key_is_asked_for_and_kept_only_when_told(opened: Opened, server: FakeServer, keep: bool) -> None:
    """A key left behind on a shared computer is a leak; one that is asked for each time is a nuisance."""
    server.key = "secret"
    page = opened()
    page.wait("document.querySelector('dialog #api-key')")
    page.type("secret", into="#api-key")
    if keep:
        page.click("#keep-key")
    page.click("dialog .primary")
    page.wait("document.querySelector('#model').value === 'nano'")
    ask(page, "Hello")
    assert server.keys[-1] == "secret"
    assert page.js("Object.values(localStorage).includes('secret')") is keep
    assert page.js("Object.values(sessionStorage).includes('secret')") is not keep
    assert page.js("document.querySelector('#banner').hidden") is True


def test_a_full_server_is_tried_again_after_its_time(page: Page, server: FakeServer) -> None:
    """429 names the seconds: the button waits for them, and the next try replaces the empty answer."""
    server.answers.append(Answer(status=429, error="Too many requests wait.", headers={"Retry-After": "1"}))
    ask(page, "Hello")
    assert "Too many requests wait." in page.text(".failure")
    assert page.js("document.querySelector('.failure .button').disabled") is True
    page.click(".failure .button")
    page.wait("document.querySelector('.answer .prose')?.innerText === 'Hello'")
    assert page.js("document.querySelectorAll('.answer').length") == 1 and not page.js(
        "document.querySelector('.versions')"
    )


def test_each_error_is_told_in_words(page: Page, server: FakeServer) -> None:
    """A reader must learn what is wrong from the server's own words, and never lose the message."""
    server.answers.extend(
        [
            Answer(status=503, error="The model is loading."),
            Answer(status=500, raw=None, error="<b>broken</b>"),
            Answer(raw=b'data: {"error": {"message": "The worker died.", "code": 500}}\n\n'),
            Answer(raw=b"data: not json\n\n"),
            Answer(raw=b'data: {"choices": [{"delta": {"content": "half"}}]}\n\n'),
        ]
    )
    for expected in (
        "The model is loading.",
        "<b>broken</b>",
        "The worker died.",
        "not an answer",
        "connection was lost",
    ):
        ask(page, "Hello")
        assert expected in page.text(".message:last-child .failure")
    assert page.text(".message:last-child .prose") == "half"
    assert page.js("document.querySelectorAll('.failure b').length") == 0
    ask(page, "Go on")
    assert [message["content"] for message in server.requests[-1]["messages"]] == ["Hello"] * 5 + ["half", "Go on"]


def test_a_lost_key_is_asked_for_in_the_answer(page: Page, server: FakeServer) -> None:
    """A key that expires while the page is open must be replaced without losing the message."""
    server.key = "new"
    ask(page, "Hello")
    page.click(".failure .primary")
    page.type("new", into="#api-key")
    page.click("dialog .primary")
    page.wait("!document.querySelector('dialog')")
    page.click(".failure .button:not(.primary)")
    page.wait("document.querySelector('.answer .prose')?.innerText === 'Hello'")


def test_a_long_answer_follows_only_a_reader_at_its_end(page: Page, server: FakeServer) -> None:
    """Who scrolls up to read is not pulled down again, and finds a way back."""
    server.answers.append(Answer(tuple(f"line {n}\n\n" for n in range(120)), pause=0.01))
    page.type("Hello", into="#message")
    page.press("Enter")
    page.wait("document.querySelector('#thread').scrollTop > 300")
    page.js("document.querySelector('#thread').scrollTop = 0")
    page.wait("document.querySelector('.answer:not(.streaming)')")
    assert page.js("document.querySelector('#thread').scrollTop") < 50
    page.click("#to-end")
    page.wait("document.querySelector('#to-end').hidden")


def test_ten_thousand_pieces_are_drawn_without_a_long_pause(page: Page, server: FakeServer) -> None:
    """Drawing each piece anew takes the square of their number: the tab would stand still."""
    text = "".join(f"Paragraph {n} with *some* words.\n\n" for n in range(2500))
    server.answers.append(Answer(tuple(text[n : n + 9] for n in range(0, len(text), 9))))
    start = time.monotonic()
    ask(page, "Hello")
    assert page.js("document.querySelectorAll('.prose p').length") == 2500
    assert time.monotonic() - start < 8


@pytest.mark.parametrize("used", [".editor textarea", ".open", ".prose pre"])
def test_what_the_reader_uses_stays_while_an_answer_ends(page: Page, server: FakeServer, used: str) -> None:
    """A clip that plays, an open edit and the focus in the list were lost when the page was drawn anew."""
    page.files("#files", EXAMPLES / "speech.flac")
    page.wait("document.querySelector('#attachments audio')")
    ask(page, "```\nOne\n```")
    server.answers.append(Answer(("a", "b", "c"), pause=0.1))
    page.type("Two", into="#message")
    page.press("Enter")
    page.wait("document.querySelector('.streaming')")
    page.js("window.player = document.querySelector('.user audio'); window.player.loop = true; window.player.play()")
    page.js("document.querySelectorAll('.user [aria-label=Edit]')[1].click()")
    page.type("Three", into=".editor textarea")
    page.js(f"window.used = document.querySelector('{used}'); window.used.focus()")
    page.wait("document.querySelectorAll('.answer:not(.streaming)').length === 2")
    assert page.js("window.player.isConnected && !window.player.paused") is True
    assert page.js("document.querySelector('.editor textarea').value") == "Three"
    assert page.js("document.activeElement === window.used") is True


def test_an_edit_during_an_answer_waits(page: Page, server: FakeServer) -> None:
    """Two answers at once into one conversation would mix; what was written must not be lost."""
    ask(page, "One")
    server.answers.append(Answer(("a", "b", "c"), pause=0.2))
    page.type("Two", into="#message")
    page.press("Enter")
    page.wait("document.querySelector('.streaming')")
    page.js("document.querySelector('.user [aria-label=Edit]').click()")
    page.type("Three", into=".editor textarea")
    page.click(".editor .primary")
    page.wait("document.querySelector('#notice').innerText.includes('An answer is coming')")
    assert page.js("document.querySelector('.editor textarea').value") == "Three"
    page.wait("!document.querySelector('.streaming')")
    page.click(".editor .primary")
    page.wait("document.querySelector('.versions')?.innerText.includes('2 / 2')")
    page.wait("document.querySelector('.answer:not(.streaming)')")
    assert server.requests[-1]["messages"] == [{"role": "user", "content": "Three"}]


READ = """(async (bytes, cut) => {
  const { events } = await import('./event_stream.js');
  const pieces = [];
  for (let n = 0; n < bytes.length; n += cut) pieces.push(Uint8Array.from(bytes.slice(n, n + cut)));
  const read = [];
  const pull = (to) => (pieces.length ? to.enqueue(pieces.shift()) : to.close());
  for await (const data of events(new ReadableStream({ pull }))) read.push(data);
  return read;
})"""


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
def test_a_stream_is_read_however_it_is_cut_and_whatever_ends_its_lines(tab: Page, end: str) -> None:
    """Proxies cut streams within letters and line ends, add comments, and end lines as they like."""
    sent = ": ping||data:Grüße||event: x|data: 😀|data: two||data: [DONE]||".replace("|", end).encode()
    for cut in range(1, 20):
        read = tab.js(f"{READ}({list(sent)}, {cut})")
        assert read == ["Grüße", "😀\ntwo", "[DONE]"], cut
