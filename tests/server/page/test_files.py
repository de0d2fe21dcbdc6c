"""The files of the page, read as text: what holds without a browser."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from phi4mm.server.page_files import FOLDER, page_files
from phi4mm.server.page_headers import CONTENT_SECURITY_POLICY, MEDIA_TYPES, PAGE_HEADERS

FILES = sorted(FOLDER.iterdir())
SCRIPTS = [path for path in FILES if path.suffix == ".js"]
HTML = (FOLDER / "index.html").read_text(encoding="utf-8")
SYMBOLS = set(re.findall(r'<symbol id="icon-([a-z]+)"', HTML))


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(HTML)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and data.strip():
            self.texts.append((self.found[-1][0], data))


def test_nothing_is_inline() -> None:
    """The policy refuses inline scripts, styles and handlers: they would be dead."""
    tags = Tags()
    for tag, attributes in tags.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
        assert tag not in ("style", "iframe", "object", "embed")
    assert [text for tag, text in tags.texts if tag == "script"] == []


def test_every_file_is_served_with_its_type_and_kept_for_offline() -> None:
    """A file that the service worker does not keep breaks the page when the server is down."""
    worker = (FOLDER / "service_worker.js").read_text()
    listed = re.findall(r'"([^"]+)"', re.search(r"const FILES = \[(.*?)\];", worker, re.DOTALL)[1])  # type: ignore[index]
    assert sorted(listed) == sorted(
        ["./", *(path.name for path in FILES if path.name not in ("index.html", "service_worker.js"))]
    )
    assert {path.suffix for path in FILES} == set(MEDIA_TYPES)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_reads_no_html_and_names_only_what_is_there(path: Path) -> None:
    """One use of innerHTML is one hole; a misspelt id or symbol is an empty button."""
    text = path.read_text(encoding="utf-8")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|setHTML|srcdoc", text
    )
    ids = set(re.findall(r'id="([^"]+)"', HTML)) | {"tools-button"}
    assert [name for name in re.findall(r'byId\("([^"]+)"\)', text) if name not in ids] == []
    used = re.findall(r'(?:icon|iconButton|act|step)\("([a-z]+)"', text)
    assert [name for name in used if name not in SYMBOLS] == []
    for name in re.findall(r'from "\./([^"]+)"', text):
        assert (FOLDER / name).is_file()
    assert len(text.splitlines()) <= 250


def test_the_symbols_of_the_html_are_there() -> None:
    """A missing symbol is an empty button."""
    assert set(re.findall(r'href="#icon-([a-z]+)"', HTML)) <= SYMBOLS


def test_no_file_names_another_host() -> None:
    """No font, script or count of visits comes from elsewhere: the page works without the net."""
    for path in FILES:
        addresses = set(re.findall(r"https?://\w[\w.-]*", path.read_text(encoding="utf-8")))
        assert addresses <= {"http://www.w3.org", "http://localhost"}, path.name


def test_the_manifest_names_files_that_are_there() -> None:
    """An icon that is missing makes the page not installable."""
    manifest = json.loads((FOLDER / "manifest.webmanifest").read_text())
    assert all((FOLDER / icon["src"]).is_file() for icon in manifest["icons"])
    assert {"name", "short_name", "start_url", "display", "icons", "theme_color"} <= set(manifest)


def test_a9_the_policy_allows_this_origin_alone() -> None:
    """A wildcard or 'unsafe-inline' would undo it."""
    policy = dict(part.split(" ", 1) for part in CONTENT_SECURITY_POLICY.split("; "))
    assert policy["default-src"] == "'self'"
    assert (
        "unsafe" not in CONTENT_SECURITY_POLICY
        and "*" not in CONTENT_SECURITY_POLICY
        and "http" not in CONTENT_SECURITY_POLICY
    )
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"
    assert PAGE_HEADERS["X-Content-Type-Options"] == "nosniff"


def test_each_path_gives_its_file_with_the_headers() -> None:
    """A path without the policy would be a way around it; two versions must not share a tag."""
    served = page_files()
    assert set(served) == {"/", *(f"/{path.name}" for path in FILES if path.name != "index.html")}
    assert served["/"].body == (FOLDER / "index.html").read_bytes()
    assert all(PAGE_HEADERS.items() <= file.headers.items() for file in served.values())
    assert len({file.headers["ETag"] for file in served.values()}) == len(served)
