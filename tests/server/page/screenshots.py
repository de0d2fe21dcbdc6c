"""Write docs/assets/page: what a reader sees in the main states, in light and dark, on a desk and on a phone.

python -m tests.server.page.screenshots [FOLDER]
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import PIL.Image

from tests.server.page.chromium import Browser, Page, found
from tests.server.page.conftest import ask, write_tone, write_video
from tests.server.page.fake_server import Answer, FakeServer

ROOT = Path(__file__).parents[3]
DESK, PHONE = (1280, 800), (390, 844)
SCENE = """A red **stop sign** stands at the right side of a street. What the image shows:

| object | place | colour |
|:--|:--|:--|
| sign | right | red |
| house | left | white |

The same question from Python:

```python
reply = model.chat("What is shown?", images=["scene.png"])
print(reply.text)
```
"""
TOOLS = '[{"name": "get_weather", "description": "Get the weather in a city.", "parameters": {"type": "object"}}]'


def welcome(page: Page, server: FakeServer) -> None:
    page.js("document.activeElement.blur()")


def past(page: Page, server: FakeServer) -> None:
    for text in ("Three names for a small bakery", "Translate this letter into French", "How does a heat pump work?"):
        ask(page, text)
        page.js("document.querySelector('#new').click()")


def chat(page: Page, server: FakeServer) -> None:
    past(page, server)
    page.files("#files", ROOT / "examples" / "stop_sign.png")
    page.wait("document.querySelector('#attachments img')")
    server.answers.append(Answer(tuple(SCENE[n : n + 8] for n in range(0, len(SCENE), 8))))
    ask(page, "What is shown in this image? Answer with a table.")
    page.js("document.activeElement.blur()")


def tool(page: Page, server: FakeServer) -> None:
    past(page, server)
    page.click("#tools-button")
    page.type(TOOLS, into="#tools")
    page.click("dialog .primary")
    page.wait("!document.querySelector('dialog')")
    server.answers.append(Answer(calls=(("get_weather", '{"city": "Paris", "unit": "celsius"}'),)))
    ask(page, "Will I need an umbrella in Paris?")
    page.wait("document.querySelector('.results textarea')")
    page.js("document.activeElement.blur()")


def microphone(page: Page, server: FakeServer) -> None:
    past(page, server)
    page.files("#files", ROOT / "examples" / "scene.png", ROOT / "examples" / "speech.flac")
    page.wait("document.querySelector('#attachments img')")
    ask(page, "Compare what you hear with what you see.")
    page.click("[aria-label='Record sound']")
    page.wait("document.querySelector('#capture-time').innerText === '0:02'")


def failure(page: Page, server: FakeServer) -> None:
    past(page, server)
    server.answers.append(
        Answer(status=429, error="32 requests wait already; at most 32 may wait.", headers={"Retry-After": "12"})
    )
    ask(page, "Write a short poem about rivers.")


def settings(page: Page, server: FakeServer) -> None:
    chat(page, server)
    page.click("#settings")
    page.wait("document.querySelector('dialog')")


def code(page: Page, server: FakeServer) -> None:
    chat(page, server)
    page.click("#code")
    page.wait("document.querySelector('dialog')")


def conversations(page: Page, server: FakeServer) -> None:
    chat(page, server)
    if not page.js("document.body.classList.contains('with-sidebar')"):
        page.click("#menu")


def camera(page: Page, server: FakeServer) -> None:
    past(page, server)
    page.click("[aria-label='Camera']")
    page.wait("document.querySelector('dialog .primary:not(:disabled)')")


SHOTS: tuple[tuple[str, Callable[[Page, FakeServer], None], tuple[int, int], bool], ...] = (
    ("welcome-light", welcome, DESK, False),
    ("chat-light", chat, DESK, False),
    ("chat-dark", chat, DESK, True),
    ("tool-call-light", tool, DESK, False),
    ("microphone-dark", microphone, DESK, True),
    ("camera-light", camera, DESK, False),
    ("settings-light", settings, DESK, False),
    ("code-dark", code, DESK, True),
    ("error-light", failure, DESK, False),
    ("phone-welcome-dark", welcome, PHONE, True),
    ("phone-chat-light", chat, PHONE, False),
    ("phone-chat-dark", chat, PHONE, True),
    ("phone-conversations-light", conversations, PHONE, False),
    ("phone-settings-dark", settings, PHONE, True),
    ("phone-tool-call-light", tool, PHONE, False),
)


def save(png: bytes, path: Path) -> None:
    """The same pixels in as few bytes as PNG allows."""
    with PIL.Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").save(path, optimize=True)


def main() -> int:
    """Take all of them, or those that are named after the folder."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "assets" / "page"
    program = found()
    if program is None:
        print("no Chromium is installed (Debian: apt-get install chromium)", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    server = FakeServer()
    with tempfile.TemporaryDirectory() as scratch:
        write_tone(Path(scratch) / "tone.wav")
        write_video(Path(scratch) / "camera.y4m")
        browser = Browser(program, Path(scratch) / "profile", Path(scratch) / "tone.wav", Path(scratch) / "camera.y4m")
        for name, prepare, size, dark in SHOTS:
            if sys.argv[2:] and name not in sys.argv[2:]:
                continue
            server.reset()
            page = browser.page(server.address, size=size, dark=dark)
            prepare(page, server)
            save(page.screenshot(), folder / f"{name}.png")
            print(name, (folder / f"{name}.png").stat().st_size, page.faults())
            page.close()
        browser.close()
    server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
