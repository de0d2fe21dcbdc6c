"""Conversations stay in the browser: kept, found, renamed, deleted, exported, imported, read with the server down."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.server.page.chromium import CONTROL, Page
from tests.server.page.conftest import Opened, ask
from tests.server.page.fake_server import FakeServer

EXAMPLES = Path(__file__).parents[3] / "examples"
NEW = "document.querySelector('#new').click()"
TITLES = "[...document.querySelectorAll('.open')].map((n) => n.innerText)"


def exported(page: Page, folder: Path, selector: str = "#export") -> Path:
    """The file that a click saves."""
    before = set(folder.iterdir())
    page.downloads(folder)
    page.click(selector)
    end = time.monotonic() + 10
    while not (new := {path for path in folder.iterdir() if path.suffix == ".json"} - before):
        assert time.monotonic() < end, "nothing was saved"
        time.sleep(0.02)
    return new.pop()


def test_conversations_are_kept_found_and_opened(page: Page, server: FakeServer) -> None:
    """A reader who comes back finds what was there, by a word of its messages too."""
    ask(page, "About rivers")
    page.js(NEW)
    page.files("#files", EXAMPLES / "scene.png")
    page.wait("document.querySelector('#attachments .attachment')")
    ask(page, "About bridges")
    page.open(server.address)
    assert page.js(TITLES) == ["About bridges", "About rivers"]
    page.press("k", CONTROL)
    page.wait("document.activeElement.id === 'search'")
    page.type("RIVERS about")
    page.wait(f"{TITLES}.length === 1")
    page.click(".open")
    page.wait("document.querySelector('.answer .prose')?.innerText === 'About rivers'")
    page.type("nothing", into="#search")
    page.wait("document.querySelector('#conversation-list').innerText.includes('Nothing found')")
    page.type("", into="#search")
    page.press(" ")
    page.wait(f"{TITLES}.length === 2")
    page.click(".open")
    page.wait("document.querySelector('.user .attachment img')?.naturalWidth > 0")


def test_a_conversation_is_renamed_and_deleted_and_brought_back(page: Page, server: FakeServer) -> None:
    """Deleting is one click, so it must be undone by one."""
    ask(page, "About rivers")
    page.js("document.querySelector('[aria-label^=Rename]').focus()")
    page.press("Enter")
    page.wait("document.querySelector('dialog #title')")
    page.type("Waters", into="#title")
    page.press("Enter")
    page.wait(f"{TITLES}[0] === 'Waters'")
    page.js("document.querySelector('[aria-label^=Delete]').focus()")
    page.press("Enter")
    page.wait(f"{TITLES}.length === 0 && document.querySelector('.welcome')")
    page.click("#notice .button")
    page.wait("import('./store.js').then((store) => store.all()).then((all) => all.length === 1)")
    page.open(server.address)
    assert page.js(TITLES) == ["Waters"]


def test_an_export_read_elsewhere_is_the_same(opened: Opened, server: FakeServer, tmp_path: Path) -> None:
    """An export that loses an image, a branch or a setting is no copy."""
    page = opened()
    page.files("#files", EXAMPLES / "scene.png", EXAMPLES / "speech.flac")
    page.wait("document.querySelectorAll('#attachments .attachment').length === 2")
    ask(page, "One")
    page.click(".answer [aria-label='Answer again']")
    page.wait("document.querySelector('.versions')")
    page.js(NEW)
    ask(page, "Two")
    file = exported(page, tmp_path)
    value = json.loads(file.read_text())
    assert len(value["conversations"]) == 2
    other = opened()
    other.files("#archive", file)
    other.wait("document.querySelector('#notice').innerText.includes('2 conversations were imported')")
    other.click(".open", 1)
    other.wait("document.querySelector('.versions')?.innerText.includes('2 / 2')")
    assert other.js("document.querySelector('.user .attachment img').naturalWidth") > 0
    (tmp_path / "again").mkdir()  # a file of the same second would have the same name
    again = json.loads(exported(other, tmp_path / "again").read_text())

    def without_ids(archive: dict[str, Any]) -> dict[str, Any]:
        for conversation in archive["conversations"]:
            for message in conversation["messages"]:
                for attachment in message["attachments"]:
                    del attachment["id"]
        return archive

    assert without_ids(again) == without_ids(value)
    other.files("#archive", file)
    other.wait(
        "document.querySelector('#notice').innerText.includes('0 conversations were imported, 2 were here already')"
    )


ID, OTHER = "0123456789abcdef", "fedcba9876543210"
MESSAGE: dict[str, Any] = {
    **{
        "id": ID,
        "parent": None,
        "role": "user",
        "text": "Hello",
        "calls": [],
        "call": None,
        "model": None,
        "usage": None,
    },
    **{"finish": None, "error": None},
    "attachments": [{"id": ID, "kind": "image", "name": "a.png", "type": "image/png", "data": "AAAA"}],
}
ARCHIVE: dict[str, Any] = {
    "format": "phi4mm conversations",
    "version": 1,
    "conversations": [
        {
            **{"id": ID, "title": None, "created": 1, "updated": 2, "model": "nano", "messages": [MESSAGE], "leaf": ID},
            "settings": {
                **{"system": "", "temperature": None, "top_p": None, "max_tokens": None, "seed": None},
                **{"format": "text", "schema": "", "tools": ""},
            },
        }
    ],
}


def set_at(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(archive: Any) -> None:
        for step in path[:-1]:
            archive = archive[step]
        archive[path[-1]] = to

    return change


FIRST = ("conversations", 0)
ONE = (*FIRST, "messages", 0)
IMAGE = (*ONE, "attachments", 0)
WRONG: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (set_at("version", to=2), "version"),
    (set_at("format", to="other"), "format"),
    (set_at("more", to=1), 'unknown field "more"'),
    (set_at("conversations", to={}), "conversations must be a list"),
    (set_at(*FIRST, to=None), "conversations[0] must be an object"),
    (set_at(*FIRST, "id", to="../x"), "conversations[0].id"),
    (set_at(*FIRST, "title", to="x" * 201), "conversations[0].title"),
    (set_at(*FIRST, "updated", to="now"), "conversations[0].updated"),
    (set_at(*FIRST, "leaf", to=OTHER), "conversations[0].leaf"),
    (set_at(*FIRST, "settings", "temperature", to=1e9), "settings.temperature"),
    (set_at(*FIRST, "settings", "format", to="html"), "settings.format"),
    (set_at(*FIRST, "settings", "__proto__", to={}), "unknown field"),
    (set_at(*ONE, "role", to="system"), "messages[0].role"),
    (set_at(*ONE, "parent", to=ID), "messages[0].parent"),
    (set_at(*ONE, "text", to=["x"]), "messages[0].text"),
    (set_at(*ONE, "usage", to={"prompt": 1, "answer": "2", "seconds": 3}), "usage.answer"),
    (set_at(*ONE, "calls", to=[{"id": "1", "name": "n"}]), 'lacks the field "arguments"'),
    (set_at(*IMAGE, "type", to="image/svg+xml"), "attachments[0].type"),
    (set_at(*IMAGE, "kind", to="html"), "attachments[0].kind"),
    (set_at(*IMAGE, "data", to="<b>"), "attachments[0].data"),
    (set_at(*IMAGE, "name", to="../../secret"), "attachments[0].name"),
    (set_at(*IMAGE, "name", to="a\nEND"), "attachments[0].name"),
]


def test_a_wrong_import_is_refused_whole_and_named(page: Page, tmp_path: Path) -> None:
    """A file from anywhere must not put into the page what the page itself never writes."""
    file = tmp_path / "archive.json"
    for change, words in WRONG:
        archive = copy.deepcopy(ARCHIVE)
        change(archive)
        file.write_text(json.dumps(archive))
        page.js("document.querySelector('#notice').textContent = ''")
        page.files("#archive", file)
        page.wait("document.querySelector('#notice').innerText.startsWith('Nothing was imported.')")
        assert words in page.text("#notice"), (words, page.text("#notice"))
    file.write_text("[" * 100)
    page.files("#archive", file)
    page.wait("document.querySelector('#notice').innerText.includes('not JSON')")
    assert page.js(TITLES) == []
    file.write_text(json.dumps(ARCHIVE))
    page.files("#archive", file)
    page.wait(f"{TITLES}.length === 1")


def test_the_page_opens_and_exports_with_the_server_down(opened: Opened, server: FakeServer, tmp_path: Path) -> None:
    """a9: conversations belong to the reader: they open and export when nothing answers."""
    page = opened(worker=True)
    ask(page, "About rivers")
    page.wait("navigator.serviceWorker.ready.then(() => true)")
    page.wait("caches.open('phi4mm page').then((cache) => cache.keys()).then((keys) => keys.length > 40)")
    server.stop()
    try:
        page.open(server.address)
        assert "cannot be reached" in page.text("#banner")
        page.click(".open")
        page.wait("document.querySelector('.answer .prose')?.innerText === 'About rivers'")
        assert (
            json.loads(exported(page, tmp_path).read_text())["conversations"][0]["messages"][1]["text"]
            == "About rivers"
        )
        page.type("Are you there?", into="#message")
        page.press("Enter")
        page.wait("document.querySelector('#notice').innerText.includes('nothing was sent')")
        assert page.js("document.querySelector('#message').value") == "Are you there?"
    finally:
        server.start()
    page.click("#reconnect")
    page.wait("document.querySelector('#banner').hidden && document.querySelector('#model').value === 'nano'")
    page.js("document.querySelector('#message').focus()")
    page.press("Enter")
    page.wait("document.querySelectorAll('.answer:not(.streaming)').length === 2")


def test_the_page_can_be_installed(opened: Opened, server: FakeServer) -> None:
    """a9: a manifest that Chromium reads without a complaint, with an icon."""
    page = opened(worker=True)
    manifest = page.call("Page.getAppManifest")
    assert manifest["errors"] == [] and manifest["url"].endswith("/manifest.webmanifest")
    assert json.loads(manifest["data"])["display"] == "standalone"
    # Headless contexts are private windows, where nothing can be installed; no other reason may stand.
    found = page.call("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [error["errorId"] for error in found if error["errorId"] != "in-incognito"] == []


HOSTILE = "It's $HOME `id` \\n \"END\"\nEND\n$(touch owned) é 😀 \u2028 ''' \\"


def test_the_request_as_curl_and_python_is_the_request(page: Page, server: FakeServer, tmp_path: Path) -> None:
    """Code to copy must send what the page sends, and run nothing that a message says."""
    for name in ("stop_sign.png", "speech.flac"):
        (tmp_path / name).write_bytes((EXAMPLES / name).read_bytes())
    # A line break in a name would end the command's data: it is written as _.
    odd = tmp_path / "it's $(touch owned)\nEND\n.png"
    for path in (odd, tmp_path / "it's $(touch owned)_END_.png"):
        path.write_bytes((EXAMPLES / "scene.png").read_bytes())
    page.files("#files", tmp_path / "stop_sign.png", tmp_path / "speech.flac", odd)
    page.wait("document.querySelectorAll('#attachments .attachment').length === 3")
    page.type(HOSTILE, into="#message")
    page.press("Enter")
    page.wait("document.querySelector('.answer:not(.streaming)')")
    page.click("#code")
    command, program = page.wait("[...document.querySelectorAll('dialog pre code')].map((n) => n.textContent)")
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, capture_output=True, timeout=20)
    assert server.requests[1] == server.requests[0]
    # Stands in for the client: writes down what it is given.
    (tmp_path / "openai.py").write_text(
        "import json\nclass OpenAI:\n def __init__(self, base_url, api_key):\n  self.chat = self.completions = self\n"
        "  print(base_url)\n def create(self, **given):\n  print(json.dumps(given))\n  return []\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=20
    )
    address, given = ran.stdout.splitlines()[:2]
    sent = {name: value for name, value in server.requests[0].items() if name != "stream_options"}
    assert (address, json.loads(given)) == (f"{server.address}v1", sent)
    assert not (tmp_path / "owned").exists()


def test_the_python_of_a_conversation_with_tools_prints_calls(page: Page, server: FakeServer, tmp_path: Path) -> None:
    """An answer of calls alone has no content: the program printed nothing."""
    page.click("#tools-button")
    page.wait("document.querySelector('dialog #tools')")
    page.type('[{"name": "get_weather"}]', into="#tools")
    page.click("dialog .primary")
    page.wait("!document.querySelector('dialog')")
    ask(page, "Weather?")
    page.click("#code")
    command, program = page.wait("[...document.querySelectorAll('dialog pre code')].map((n) => n.textContent)")
    assert command.startswith("curl -sSN ")
    (tmp_path / "openai.py").write_text(
        "from types import SimpleNamespace as N\n"
        "def piece(name, text):\n"
        " call = N(function=N(name=name, arguments=text))\n"
        " return N(choices=[N(delta=N(content=None, tool_calls=[call]))])\n"
        "class OpenAI:\n def __init__(self, base_url, api_key):\n  self.chat = self.completions = self\n"
        " def create(self, **given):\n"
        "  return [piece('get_weather', None), piece(None, '{\"city\":'), piece(None, ' 1}'), N(choices=[])]\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=20
    )
    assert ran.stdout == '\nget_weather {"city": 1}\n'


def test_another_tab_sees_new_conversations(page: Page, server: FakeServer) -> None:
    """Two tabs must not overwrite each other's list."""
    target = page.browser.call("Target.createTarget", url=server.address, browserContextId=page.context)["targetId"]
    session = page.browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    other = copy.copy(page)
    other.session = session
    other.wait(page.ready)
    ask(page, "About rivers")
    other.wait(f"{TITLES}[0] === 'About rivers'")


@pytest.mark.parametrize("offered", [False, True])
def test_the_tab_of_transcription_is_there_when_the_server_has_it(
    opened: Opened, server: FakeServer, offered: bool
) -> None:
    """A tab that can only fail is worse than none; one that is there works by keyboard too."""
    if offered:
        server.paths.append("/v1/audio/transcriptions")
    page = opened()
    assert page.js("document.querySelector('#tabs').checkVisibility()") is offered
    if not offered:
        return
    page.js("document.querySelector('#tab-chat').focus()")
    page.press("ArrowRight")
    page.wait(
        "document.activeElement.id === 'tab-transcribe' && document.querySelector('#transcription').checkVisibility()"
    )
    page.files("#speech", EXAMPLES / "speech.flac")
    page.js("document.querySelector('#format').value = 'srt'")
    page.click("#transcription .primary")
    assert "hello there" in page.wait("document.querySelector('#transcript pre')?.innerText")
    sent = server.uploads[0]
    assert (EXAMPLES / "speech.flac").read_bytes() in sent
    assert (
        b'name="response_format"\r\n\r\nsrt' in sent
        and b'name="model"\r\n\r\nnano' in sent
        and b'"language"' not in sent
    )
