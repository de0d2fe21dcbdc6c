"""A server that serves the page as it must be served, and answers in OpenAI's form what a test tells it to."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from phi4mm.server.page_files import page_files

FILES = page_files()
USAGE = {"prompt_tokens": 12, "completion_tokens": 34, "total_tokens": 46}


@dataclass
class Answer:
    """What a chat request gets: pieces of text, calls, or an error; `pause` seconds between pieces, or raw bytes."""

    pieces: tuple[str, ...] = ()
    calls: tuple[tuple[str, str], ...] = ()  # name, arguments
    pause: float = 0.0
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    error: str = ""
    raw: bytes | None = None
    finish: str = "stop"

    def events(self) -> Iterator[bytes]:
        if self.raw is not None:
            yield self.raw
            return
        yield event({"role": "assistant", "content": ""})
        for piece in self.pieces:
            yield event({"content": piece})
        for index, (name, arguments) in enumerate(self.calls):
            yield event(
                {
                    "tool_calls": [
                        {
                            "index": index,
                            "id": f"call_{index}",
                            "type": "function",
                            "function": {"name": name, "arguments": ""},
                        }
                    ]
                }
            )
            for letter in range(0, len(arguments), 5):
                yield event(
                    {"tool_calls": [{"index": index, "function": {"arguments": arguments[letter : letter + 5]}}]}
                )
        yield event({}, "tool_calls" if self.calls else self.finish)
        yield b"data: " + json.dumps({"choices": [], "usage": USAGE}).encode() + b"\n\n"
        yield b"data: [DONE]\n\n"


def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    chunk = {
        "id": "1",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def close_open(self) -> None:
        """Leave the clients that are connected: they would be answered for as long as they stay."""
        for one in list(self.open):
            with contextlib.suppress(OSError):  # it left by itself
                one.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that leaves early is no fault."""


class FakeServer:
    """Answers come from `answers`, in order; without one the last text of the user comes back."""

    def __init__(self) -> None:
        self.port = 0
        self.reset()
        self.start()

    def reset(self) -> None:
        self.answers: deque[Answer] = deque()
        self.requests: list[dict[str, Any]] = []
        self.uploads: list[bytes] = []
        self.keys: list[str] = []
        self.others: list[str] = []  # paths that nothing here has
        self.key = ""
        self.models: list[dict[str, str]] = [{"id": "nano", "owned_by": "phi4mm"}, {"id": "poet", "owned_by": "nano"}]
        self.paths = ["/v1/chat/completions", "/v1/models"]
        self.left = threading.Event()  # a client that leaves before the end

    def start(self) -> None:
        """Listen, on the same port as before."""
        handler = type("Handler", (Handler,), {"server_state": self})
        self._http = Listener(("127.0.0.1", self.port), handler)
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; nobody is answered."""
        self._http.shutdown()
        self._http.server_close()
        self._http.close_open()
        self._thread.join()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def next(self, body: dict[str, Any]) -> Answer:
        self.requests.append(body)
        if self.answers:
            return self.answers.popleft()
        content = body["messages"][-1]["content"]
        return Answer((content if isinstance(content, str) else content[-1].get("text", "media"),))


class Handler(BaseHTTPRequestHandler):
    server_state: FakeServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_GET(self) -> None:
        state = self.server_state
        if self.path in ("/v1/models", "/openapi.json"):
            value: dict[str, Any] = {"data": state.models, "paths": {path: {} for path in state.paths}}
            self.guarded(lambda: self.reply(200, json.dumps(value).encode(), {"Content-Type": "application/json"}))
            return
        if file := FILES.get(self.path):
            self.reply(200, file.body, dict(file.headers))
        else:
            state.others.append(self.path)
            self.reply(404, b"", {})

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/audio/transcriptions":
            self.server_state.uploads.append(data)
            self.guarded(
                lambda: self.reply(
                    200, b"1\n00:00:00,000 --> 00:00:01,000\nhello there\n", {"Content-Type": "text/plain"}
                )
            )
        else:
            self.guarded(lambda: self.chat(self.server_state.next(json.loads(data))))

    def guarded(self, answer: Any) -> None:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.server_state.keys.append(given)
        if self.server_state.key and given != self.server_state.key:
            self.refuse(401, "The API key is wrong or missing.", {})
        else:
            answer()

    def chat(self, answer: Answer) -> None:
        if answer.status != 200:
            self.refuse(answer.status, answer.error, answer.headers)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for piece in answer.events():
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
                time.sleep(answer.pause)
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.server_state.left.set()
            self.close_connection = True

    def refuse(self, status: int, message: str, headers: dict[str, str]) -> None:
        body = {"error": {"message": message, "type": "error", "param": None, "code": None}}
        self.reply(status, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})

    def reply(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
