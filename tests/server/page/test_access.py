"""The page by keyboard, by screen reader, on a phone, in both themes, from right to left, and without motion."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.server.page.chromium import Page
from tests.server.page.conftest import Opened, ask
from tests.server.page.fake_server import Answer, FakeServer

EXAMPLES = Path(__file__).parents[3] / "examples"
RICH = "# Title\n\n`code`, [a link](https://example.org) and:\n\n> said\n\n```py\nx = 1\n```\n\n|a|b|\n|-|-|\n|1|2|\n"
CONTRAST = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")
# What a screen reader would announce for each control, as the browser itself computes it.
NAMED = (
    "button",
    "textbox",
    "searchbox",
    "combobox",
    "link",
    "checkbox",
    "spinbutton",
    "tab",
    "Audio",
    "image",
    "img",
    "meter",
    "dialog",
    "region",
)


def unnamed(page: Page) -> list[str]:
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    return [
        node["role"]["value"]
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in NAMED and not node.get("name", {}).get("value", "").strip()
    ]


def filled(page: Page, server: FakeServer) -> None:
    """All that a conversation may show: media, Markdown, versions, calls, a failure."""
    page.files("#files", EXAMPLES / "scene.png", EXAMPLES / "speech.flac")
    page.wait("document.querySelectorAll('#attachments .attachment').length === 2")
    server.answers.extend(
        [Answer((RICH,)), Answer((RICH,)), Answer(status=401, error="No."), Answer(calls=(("tool", '{"a": 1}'),))]
    )
    ask(page, "Hello")
    page.js("document.querySelector('[aria-label=\"Answer again\"]').click()")
    page.wait("document.querySelector('.versions') && !document.querySelector('.streaming')")
    ask(page, "Fail")
    ask(page, "Call")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (360, 740)], ids=["desk", "phone"])
def test_every_control_has_a_name_and_every_text_its_contrast(
    opened: Opened, server: FakeServer, size: tuple[int, int], dark: bool
) -> None:
    """WCAG 2 AA: 4.5 for text, 3 for large text and signs, in both themes; a name for all that can be used."""
    page = opened(size=size, dark=dark)
    assert (page.js(CONTRAST), unnamed(page)) == ([], [])
    filled(page, server)
    assert (page.js(CONTRAST), unnamed(page)) == ([], [])
    for button in ("#settings", "#tools-button", "#code"):
        page.click(button)
        page.wait("document.querySelector('dialog')")
        assert (button, page.js(CONTRAST), unnamed(page)) == (button, [], [])
        page.press("Escape")
        page.wait("!document.querySelector('dialog')")
    if size[0] < 600:
        page.click("#menu")
    assert (page.js(CONTRAST), unnamed(page)) == ([], [])


@pytest.mark.parametrize("width", [360, 320])
def test_a_phone_scrolls_in_one_direction(opened: Opened, server: FakeServer, width: int) -> None:
    """Nothing is wider than the window; what a finger presses is 24 px at least (WCAG 2.5.8)."""
    page = opened(size=(width, 740))
    filled(page, server)
    seen = "[...document.querySelectorAll('body *')].filter((n) => n.checkVisibility())"
    wide = f"{seen}.filter((n) => !n.closest('pre, .table, .unseen, .skip, svg')"
    assert (
        page.js(f"{wide} && n.getBoundingClientRect().right > {width} + 1).map((n) => n.outerHTML.slice(0, 80))") == []
    )
    assert page.js(f"document.documentElement.scrollWidth <= {width}") is True
    boxes = f"{seen}.filter((n) => n.matches('button, select, input, textarea')).map((n) => n.getBoundingClientRect())"
    assert page.js(f"Math.min(...{boxes}.flatMap((box) => [box.width, box.height]))") >= 24
    page.click("#menu")
    assert page.js("document.querySelector('#main').inert") is True
    page.press("Escape")
    page.wait("!document.querySelector('#main').inert && document.activeElement.id === 'menu'")


def focused(page: Page) -> str:
    return str(
        page.js("(document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText ?? '').trim()")
    )


def test_a_conversation_by_keyboard_alone(page: Page, server: FakeServer) -> None:
    """The first Tab skips to the message; then everything comes in the order of the page, with a ring around it."""
    page.press("Tab")
    assert focused(page) == "Skip to the message field"
    assert page.js("document.activeElement.getBoundingClientRect().top >= 0") is True
    page.press("Enter")
    page.wait("document.activeElement.id === 'message'")
    page.type("Hello")
    page.press("Enter")
    page.wait("document.querySelector('.answer:not(.streaming)')")
    assert page.js("document.activeElement.id") == "message"
    page.js("document.activeElement.blur(); document.querySelector('.skip').focus()")
    seen = []
    for _ in range(24):
        page.press("Tab")
        seen.append(focused(page))
        style = "getComputedStyle(document.activeElement)"
        ring = page.js(f"[{style}.outlineStyle, parseFloat({style}.outlineWidth)]")
        inside = page.js("document.activeElement.id === 'message'")  # there the frame around the field changes
        assert inside or (ring[0] == "solid" and ring[1] >= 2), seen[-1]
        if inside:
            break
    wanted = [
        *(
            "New conversation",
            "Search conversations",
            "Hello",
            "Conversations",
            "Model or adapter",
            "Use this from code",
        ),
        *("Settings", "Messages", "Copy", "Edit", "Copy answer", "Answer again", "Message"),
    ]
    order = [seen.index(name) for name in wanted]
    assert order == sorted(order), seen
    page.js("document.querySelector('#settings').focus()")
    page.press("Enter")
    page.wait("document.querySelector('dialog')?.contains(document.activeElement)")
    page.press("Escape")
    page.wait("document.activeElement.id === 'settings'")


@pytest.mark.parametrize(("button", "first"), [("#settings", "setting-system"), ("#tools-button", "tools")])
def test_a_dialog_begins_in_its_first_field(page: Page, button: str, first: str) -> None:
    """Who opens a form wants to type; the browser chose the sign that closes it."""
    page.click(button)
    page.wait(f"document.activeElement.id === '{first}'")


def test_headings_landmarks_and_the_live_region_tell_what_is_where(page: Page, server: FakeServer) -> None:
    """A screen reader's user moves by landmarks and headings, and hears of an answer without looking for it."""
    filled(page, server)
    roles = [node["role"]["value"] for node in page.call("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
    assert {"main", "complementary", "navigation", "article", "form"} <= set(roles)
    headings = "[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].filter((n) => n.checkVisibility())"
    levels: list[int] = page.js(f"{headings}.map((n) => Number(n.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels)), levels
    assert page.js("document.querySelector('#announcement').getAttribute('aria-live')") == "polite"
    assert "Call of tool" in page.text("#announcement")
    assert page.js("document.documentElement.lang") == "en"


def test_text_from_right_to_left_stands_right(page: Page, server: FakeServer) -> None:
    """Arabic and Hebrew answers are read from the right, code within them from the left."""
    server.answers.append(Answer(("مرحبا بالعالم\n\n- واحد\n\n```\nx = 1\n```\n\nEnglish\n",)))
    ask(page, "שלום")
    direction = "(selector) => getComputedStyle(document.querySelector(selector)).direction"
    seen = {
        name: page.js(f"({direction})({name!r})")
        for name in (".bubble", ".prose p", ".prose ul", ".prose pre", ".prose p:last-child", ".open")
    }
    assert seen == {
        ".bubble": "rtl",
        ".prose p": "rtl",
        ".prose ul": "rtl",
        ".prose pre": "ltr",
        ".prose p:last-child": "ltr",
        ".open": "rtl",
    }


@pytest.mark.parametrize("still", [True, False])
def test_nothing_moves_for_who_wants_no_motion(opened: Opened, server: FakeServer, still: bool) -> None:
    """An endless pulse makes some readers ill."""
    server.answers.append(Answer(("a", "b"), pause=0.2))
    page = opened(still=still)
    page.type("Hello", into="#message")
    page.press("Enter")
    page.wait("document.querySelector('.waiting')")
    repeats: Any = page.js("getComputedStyle(document.querySelector('.waiting')).animationIterationCount")
    assert repeats == ("1" if still else "infinite")
    page.wait("document.querySelector('.answer:not(.streaming)')")
