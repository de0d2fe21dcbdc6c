"""One browser and one fake server for all tests of the page; a test's page knows nothing of another test."""

from __future__ import annotations

import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from tests.server.page.chromium import Browser, Page, found
from tests.server.page.fake_server import FakeServer

TONE = 443.5  # Hz, what the fake microphone hears: whole waves in its 2 s, but not in the 0.1 s of a piece
SEEN = Path(__file__).parents[3] / "examples" / "stop_sign.png"  # what the fake camera sees
SIZE = (320, 240)
Opened = Callable[..., Page]


def write_tone(path: Path, seconds: float = 2.0, rate: int = 48000) -> None:
    samples = np.round(12000 * np.sin(2 * np.pi * TONE * np.arange(int(seconds * rate)) / rate)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())


def write_video(path: Path) -> None:
    """Frames of one image in the plain format that Chromium takes as a camera: Y'CbCr, colour at half the size."""
    with PIL.Image.open(SEEN) as image:
        planes = image.convert("RGB").resize(SIZE).convert("YCbCr").split()
    half = (SIZE[0] // 2, SIZE[1] // 2)
    frame = b"FRAME\n" + planes[0].tobytes() + b"".join(plane.resize(half).tobytes() for plane in planes[1:])
    path.write_bytes(f"YUV4MPEG2 W{SIZE[0]} H{SIZE[1]} F20:1 Ip A1:1 C420jpeg\n".encode() + frame * 4)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = found()
    if program is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    folder = tmp_path_factory.mktemp("chromium")
    write_tone(folder / "tone.wav")
    write_video(folder / "camera.y4m")
    browser = Browser(program, folder / "profile", folder / "tone.wav", folder / "camera.y4m")
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def running_server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.stop()


@pytest.fixture
def server(running_server: FakeServer) -> FakeServer:
    running_server.reset()
    return running_server


@pytest.fixture
def opened(browser: Browser, server: FakeServer) -> Iterator[Opened]:
    """Opens pages; after the test none may have thrown or broken the content security policy."""
    pages: list[Page] = []

    def open_page(address: str | None = None, **options: Any) -> Page:
        pages.append(browser.page(address or server.address, **options))
        return pages[-1]

    yield open_page
    faults = [fault for page in pages for fault in page.faults()]
    for page in pages:
        page.close()
    assert faults == []


@pytest.fixture(scope="session")
def tab(browser: Browser, running_server: FakeServer) -> Page:
    return browser.page(running_server.address)


@pytest.fixture
def page(tab: Page, server: FakeServer) -> Iterator[Page]:
    """The page in one tab that all these tests share; it has forgotten all that it kept."""
    tab.renew(server.address)
    yield tab
    assert tab.faults() == []


def ask(page: Page, text: str) -> None:
    """Write a message, send it (by Enter; on a phone that is a new line), and wait for the whole answer."""
    answers = page.js("document.querySelectorAll('.answer').length")
    page.type(text, into="#message")
    if page.js("matchMedia('(pointer: coarse)').matches"):
        page.click("#send")
    else:
        page.press("Enter")
    page.wait(f"document.querySelectorAll('.answer:not(.streaming)').length > {answers}")
