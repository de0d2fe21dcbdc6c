"""The files of the page, read once: a fixed set of paths, so that no request names a file of the machine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from phi4mm.server.page_headers import MEDIA_TYPES, PAGE_HEADERS

FOLDER = Path(__file__).parent / "page"


@dataclass(frozen=True)
class PageFile:
    """What a path of the page is answered with. `headers` are those of page_headers, the media type and an ETag."""

    body: bytes
    headers: Mapping[str, str]


def page_files() -> dict[str, PageFile]:
    """The files by their paths: "/" for index.html, "/app.js" and so on."""
    return {f"/{path.name}" if path.name != "index.html" else "/": _read(path) for path in sorted(FOLDER.iterdir())}


def _read(path: Path) -> PageFile:
    body = path.read_bytes()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return PageFile(body, {**PAGE_HEADERS, "Content-Type": MEDIA_TYPES[path.suffix], "ETag": tag})
