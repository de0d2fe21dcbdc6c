"""Images and sound reach the request from files, drops, the clipboard, the camera and the microphone."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import soundfile

from tests.server.page.chromium import CONTROL, Page
from tests.server.page.conftest import SEEN, SIZE, TONE, Opened, ask
from tests.server.page.fake_server import FakeServer

EXAMPLES = Path(__file__).parents[3] / "examples"
IMAGE, SCENE, SPEECH = EXAMPLES / "stop_sign.png", EXAMPLES / "scene.png", EXAMPLES / "speech.flac"


def attached(page: Page, count: int) -> None:
    page.wait(f"document.querySelectorAll('#attachments .attachment').length === {count}")


def parts(server: FakeServer) -> list[dict[str, Any]]:
    return list(server.requests[-1]["messages"][-1]["content"])


def image_bytes(part: dict[str, Any], kind: str = "png") -> bytes:
    head, _, data = part["image_url"]["url"].partition(",")
    assert head == f"data:image/{kind};base64"
    return base64.b64decode(data)


def test_several_files_go_before_the_text(page: Page, server: FakeServer) -> None:
    """The model reads media first; their bytes must be those of the files."""
    page.files("#files", IMAGE, SPEECH, SCENE)
    attached(page, 3)
    ask(page, "Compare them.")
    first, sound, second, text = parts(server)
    assert (image_bytes(first), image_bytes(second)) == (IMAGE.read_bytes(), SCENE.read_bytes())
    assert sound["input_audio"]["format"] == "flac"
    assert base64.b64decode(sound["input_audio"]["data"]) == SPEECH.read_bytes()
    assert text == {"type": "text", "text": "Compare them."}
    assert page.js("document.querySelectorAll('.user .attachment').length") == 3
    assert page.js("document.querySelector('#attachments').hidden") is True


def test_a_dropped_file_is_attached(page: Page, server: FakeServer) -> None:
    """A drop that misses the field would make the browser leave the page and open the file."""
    page.drop(IMAGE)
    attached(page, 1)
    assert page.js("document.querySelector('#drop').hidden") is True
    page.drop(SPEECH, 100, 500)
    attached(page, 2)
    page.click("#send")
    page.wait("document.querySelector('.answer:not(.streaming)')")
    assert image_bytes(parts(server)[0]) == IMAGE.read_bytes() and len(parts(server)) == 2


def test_a_pasted_image_is_attached(page: Page, server: FakeServer) -> None:
    """A screen clipping is pasted, not saved first."""
    data = base64.b64encode(IMAGE.read_bytes()).decode()
    page.js(
        f"(async () => {{ const bytes = Uint8Array.from(atob('{data}'), (c) => c.charCodeAt(0));"
        " const blob = new Blob([bytes], {type: 'image/png'});"
        " await navigator.clipboard.write([new ClipboardItem({'image/png': blob})]); })()"
    )
    page.js("document.querySelector('#message').focus()")
    page.press("v", CONTROL, commands=["paste"])
    attached(page, 1)
    ask(page, "What is it?")
    with PIL.Image.open(io.BytesIO(image_bytes(parts(server)[0]))) as seen, PIL.Image.open(IMAGE) as file:
        assert np.array_equal(np.asarray(seen.convert("RGB")), np.asarray(file.convert("RGB")))


def test_a_photo_of_the_camera_is_attached(page: Page, server: FakeServer) -> None:
    """What the camera sees when the button is pressed is what the model gets; the camera is given back."""
    page.click("[aria-label='Camera']")
    page.wait("document.querySelector('dialog video')?.videoWidth > 0")
    page.js("window.track = document.querySelector('dialog video').srcObject.getTracks()[0]; 0")
    page.click("dialog .primary")
    attached(page, 1)
    assert page.wait("window.track.readyState === 'ended'")
    ask(page, "What colour is it?")
    with PIL.Image.open(io.BytesIO(image_bytes(parts(server)[0], "jpeg"))) as photo, PIL.Image.open(SEEN) as seen:
        assert photo.size[0] * SIZE[1] == photo.size[1] * SIZE[0]
        difference = np.asarray(photo.resize(SIZE), float) - np.asarray(seen.convert("RGB").resize(SIZE), float)
    assert np.abs(difference).mean() < 12, np.abs(difference).mean()  # JPEG, and another table of Y'CbCr


def test_the_microphone_records_16_khz_mono_without_gaps_and_without_long_tasks(page: Page, server: FakeServer) -> None:
    """a9: the microphone never blocks the tab for 100 ms, and a busy tab (here 300 ms) loses no sample."""
    page.js(
        "window.tasks = [];"
        "new PerformanceObserver((list) => tasks.push(...list.getEntries().map((task) => task.duration)))"
        ".observe({type: 'longtask'})"
    )
    page.click("[aria-label='Record sound']")
    page.wait(
        "document.querySelector('#capture:not([hidden])') && document.querySelector('#capture-level').value > 0.3"
    )
    page.wait("document.querySelector('#capture-time').innerText === '0:01'")
    longest = page.js("Math.max(0, ...window.tasks)")
    page.js("const end = performance.now() + 300; while (performance.now() < end);")
    page.wait("document.querySelector('#capture-time').innerText === '0:02'")
    page.js("window.tasks.length = 0")
    page.click("#capture-done")
    attached(page, 1)
    page.wait("new Promise((resolve) => setTimeout(() => resolve(true), 100))")
    assert max(longest, page.js("Math.max(0, ...window.tasks)")) < 100
    ask(page, "What is heard?")
    clip = parts(server)[0]["input_audio"]
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(clip["data"])))
    assert (clip["format"], rate, samples.ndim) == ("wav", 16000, 1)
    assert 2.0 <= len(samples) / rate < 4
    heard = samples[rate // 2 :]  # without the start of the device
    power = np.abs(np.fft.rfft(heard * np.hanning(len(heard)))) ** 2
    near = np.abs(np.fft.rfftfreq(len(heard), 1 / rate) - TONE) < 5
    assert power[near].sum() > 0.999 * power.sum(), power[near].sum() / power.sum()


def test_a_clip_is_discarded(page: Page) -> None:
    """A wrong start must not be sent, and the microphone must be given back."""
    page.click("[aria-label='Record sound']")
    page.wait("document.querySelector('#capture:not([hidden])')")
    page.press("Escape")
    page.wait("document.querySelector('#capture').hidden")
    assert page.js("document.querySelectorAll('.attachment').length") == 0
    assert page.js("document.activeElement.id") == "message"


def test_a_refused_device_is_explained(opened: Opened, server: FakeServer) -> None:
    """Nothing happens after a click: the reader would not know that the browser said no."""
    page = opened(permissions=())
    for name, title in (("microphone", "Record sound"), ("camera", "Camera")):
        page.browser.call(
            "Browser.setPermission", permission={"name": name}, setting="denied", browserContextId=page.context
        )
        page.click(f"[aria-label='{title}']")
        assert "not allowed" in page.wait("document.querySelector('dialog')?.innerText")
        page.press("Escape")
        page.wait("!document.querySelector('dialog')")
        assert page.js("document.activeElement.getAttribute('aria-label')") == title


def test_without_a_secure_address_the_page_says_how_to_get_one(opened: Opened, server: FakeServer) -> None:
    """a9: browsers have no microphone there, and do not say why. All else works: the page is tried there too."""
    page = opened(f"http://phi4mm.test:{server.port}/")
    assert page.js("window.isSecureContext") is False
    page.click("[aria-label='Record sound']")
    said = page.wait("document.querySelector('dialog')?.innerText")
    assert f"ssh -L {server.port}:localhost:{server.port} phi4mm.test" in said and "https://" in said
    page.press("Escape")
    page.wait("!document.querySelector('dialog')")
    ask(page, "Hello")
    page.click(".answer [aria-label='Copy answer']")
    page.wait("document.querySelector('.answer .copy').innerText.includes('Copied')")


def test_files_that_cannot_be_sent_are_named(page: Page, tmp_path: Path) -> None:
    """SVG is a program, text is not media, an empty file is nothing: each is refused in words."""
    for name, data, words in (
        ("notes.txt", b"text", "notes.txt is neither"),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "drawing.svg is neither"),
        ("empty.png", b"", "empty.png is empty"),
    ):
        (tmp_path / name).write_bytes(data)
        page.files("#files", tmp_path / name)
        page.wait(f"document.querySelector('#notice').innerText.includes({json.dumps(words)})")
    assert page.js("document.querySelectorAll('.attachment').length") == 0


def test_an_attachment_is_taken_back(page: Page, server: FakeServer) -> None:
    """A wrong file must not be sent."""
    page.files("#files", IMAGE, SCENE)
    attached(page, 2)
    page.click("[aria-label='Remove stop_sign.png']")
    attached(page, 1)
    ask(page, "What is it?")
    assert image_bytes(parts(server)[0]) == SCENE.read_bytes() and len(parts(server)) == 2
