"""A fake model hub with one repository in memory, which can refuse requests and break connections."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class HubServer:
    """Serves `files` of `repository` on 127.0.0.1; use as a context manager.

    token     when set, requests without it are refused as for a gated model
    cut_once  names of files whose first complete transfer breaks in the middle
    requests  (method, path, Range header) of every request so far
    """

    repository: str
    files: dict[str, bytes]
    token: str | None = None
    cut_once: set[str] = field(default_factory=set)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fetched(self) -> set[str]:
        """Names of the files whose content was requested."""
        prefix = f"/{self.repository}/resolve/{COMMIT}/"
        got = [path for method, path, _ in self.requests if method == "GET"]
        return {path.removeprefix(prefix) for path in got if path.startswith(prefix)}

    def __enter__(self) -> HubServer:
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server_hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub = self.server_hub
        path = self.path.split("?")[0]
        hub.requests.append((self.command, path, self.headers.get("Range")))
        api, content = f"/api/models/{hub.repository}", f"/{hub.repository}/resolve/"
        if not path.startswith((api, content)):
            return self._refuse(404, "RepoNotFound")
        if hub.token is not None and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self._refuse(401, "GatedRepo")
        rest = path.removeprefix(api) if path.startswith(api) else path.removeprefix(content)
        verb, _, tail = rest.lstrip("/").partition("/")
        revision = tail if path.startswith(api) else verb
        if path.startswith(api) and verb and revision not in ("main", COMMIT):
            return self._refuse(404, "RevisionNotFound")
        if not path.startswith(api):
            return self._file(tail)
        return self._json(self._tree() if verb == "tree" else {"id": hub.repository, "sha": COMMIT, "siblings": []})

    def _tree(self) -> list[dict[str, Any]]:
        return [
            {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            for name, data in self.server_hub.files.items()
        ]

    def _file(self, name: str) -> None:
        hub = self.server_hub
        if name not in hub.files:
            return self._refuse(404, "EntryNotFound")
        data = hub.files[name]
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        if name in hub.cut_once:
            hub.cut_once.discard(name)
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            return
        self.wfile.write(data[start:])

    def _json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep test output quiet."""
