"""Clients that leave, ends of the server, and deaths of its worker: next.md (a) 4, 11 and 12."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx
import psutil
import pytest

from phi4mm.config.engine import EngineArgs
from phi4mm.errors import ConfigError
from phi4mm.server.lifecycle import bind
from phi4mm.server.service import Service
from phi4mm.server.settings import ServerSettings
from tests.server.conftest import SRC, RunningServer, start

# Nothing ends an answer whose every token is a letter.
LONG = {"messages": [{"role": "user", "content": "Hello."}], "max_tokens": 20000, "logit_bias": {"100": 100}}


@pytest.fixture
def own() -> Iterator[RunningServer]:
    """A server that a test may end."""
    running = start("--shutdown-timeout", "0")
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.stop()


def _figure(server: RunningServer, name: str) -> float:
    lines = server.http.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(f"vllm:{name}{{")).rpartition(" ")[2])


def _wait(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def _send_and_keep(server: RunningServer, path: str, body: dict[str, Any]) -> socket.socket:
    """Send a request and read nothing."""
    data = json.dumps({"model": "nano", **body}).encode()
    where = urlsplit(server.url)
    connection = socket.create_connection((where.hostname, where.port or 80))
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n"
    )
    connection.sendall(head.encode() + b"\r\n" + data)
    return connection


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses"])
def test_a4_a_client_that_leaves_frees_its_pages(server: RunningServer, path: str, stream: bool) -> None:
    """Answers that nobody reads would fill the memory; nothing was streamed yet where `stream` is false."""
    body: dict[str, Any] = {**LONG, "n": 2, "stream": stream}
    if path == "/v1/completions":
        body = {"prompt": "Hello.", "max_tokens": 20000, "logit_bias": {"100": 100}, "n": 2, "stream": stream}
    if path == "/v1/responses":
        body = {"input": "Hello.", "max_output_tokens": 20000, "logit_bias": {"100": 100}, "stream": stream}
    connection = _send_and_keep(server, path, body)
    _wait(lambda: _figure(server, "num_requests_running") > 0)
    connection.close()
    _wait(lambda: _figure(server, "num_requests_running") == 0, 5)
    assert _figure(server, "kv_cache_usage_perc") == 0


def test_a_fault_in_one_request_ends_that_request_only(server: RunningServer) -> None:
    """A neighbour's stream goes on to its own end."""
    texts = []

    def read() -> None:
        chunks = server.client.chat.completions.create(
            model="nano", messages=[{"role": "user", "content": "Hello."}], stream=True
        )
        texts.append("".join(chunk.choices[0].delta.content or "" for chunk in chunks))

    thread = threading.Thread(target=read)
    thread.start()
    assert server.chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "?"}}})
    thread.join()
    assert texts == ["Hello! How can I help you?"]


def test_a_killed_worker_fails_its_requests_honestly_and_comes_back(own: RunningServer) -> None:
    """A crash of native code ends the requests that it had, and the next one is answered."""
    connection = _send_and_keep(own, "/v1/chat/completions", {**LONG, "stream": True})
    _wait(lambda: _figure(own, "num_requests_running") > 0)
    children = psutil.Process(own.process.pid).children(recursive=True)
    worker = next(child for child in children if "phi4mm.engine.worker" in " ".join(child.cmdline()))
    worker.kill()
    connection.settimeout(30)
    received = b""
    while data := connection.recv(65536):
        received += data
        if b'"error"' in received:
            break
    connection.close()
    assert b"internal_error" in received
    assert b"signal" not in received  # what happened stands in the log
    assert own.chat().json()["choices"][0]["message"]["content"] == "Hello! How can I help you?"


def test_a_worker_that_dies_again_and_again_ends_the_server(own: RunningServer) -> None:
    """/health said "ready" while every chat was a 500, so nobody started the server again."""
    killed: set[int] = set()
    health = set()
    while own.process.poll() is None:
        try:
            for child in psutil.Process(own.process.pid).children(recursive=True):
                if child.pid not in killed and "phi4mm.engine.worker" in " ".join(child.cmdline()):
                    child.kill()
                    killed.add(child.pid)
            health.add(own.http.get("/health").text)
        except (psutil.NoSuchProcess, httpx.TransportError):  # it ends meanwhile
            continue
        assert len(killed) <= 4
    assert own.process.returncode == 1
    assert '{"status":"closed"}' in health
    assert own.process.stderr is not None
    text = own.process.stderr.read()
    assert "cannot be started again: it died 4 times" in text
    assert text.splitlines()[-1].startswith("phi4mm serve: the engine has ended")


def test_a_worker_that_does_not_answer_holds_up_no_other_work(own: RunningServer) -> None:
    """Scrapes and scores that waited for it took every thread, and /tokenize, which needs no worker, hung."""
    children = psutil.Process(own.process.pid).children(recursive=True)
    worker = next(child for child in children if "phi4mm.engine.worker" in " ".join(child.cmdline()))
    worker.suspend()
    try:
        scored = {"prompt": "Hello.", "max_tokens": 0, "echo": True, "logprobs": 1}
        connections = [_send_and_keep(own, "/v1/completions", scored) for _ in range(40)]
        for _ in range(3):
            with httpx.Client(base_url=own.url, timeout=10) as other:
                assert "vllm:num_requests_running" not in other.get("/metrics").text
        assert own.http.post("/tokenize", json={"prompt": "Hello."}, timeout=10).json()["count"] > 0
        for connection in connections:
            connection.close()
    finally:
        worker.resume()


def test_a12_sigterm_with_no_time_ends_streams_with_an_error_event(own: RunningServer) -> None:
    """In under 4 seconds, with exit code 0, and no child left."""
    children = psutil.Process(own.process.pid).children(recursive=True)
    assert children
    with own.http.stream("POST", "/v1/chat/completions", json={"model": "nano", **LONG, "stream": True}) as answer:
        lines = answer.iter_lines()
        next(lines)
        begin = time.monotonic()
        own.process.send_signal(signal.SIGTERM)
        last = [line for line in lines if line][-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "stopping"
    assert own.process.wait(10) == 0
    assert time.monotonic() - begin < 4
    assert [child.pid for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []


def test_a12_sigterm_lets_running_requests_end_and_refuses_new_ones() -> None:
    """A new version is rolled out without a lost answer."""
    running = start("--shutdown-timeout", "30")
    try:
        running.wait_until_ready()
        body = {"model": "nano", "prompt": "Hello.", "max_tokens": 150, "logit_bias": {"100": 100}, "stream": True}
        with running.http.stream("POST", "/v1/completions", json=body) as answer:
            lines = answer.iter_lines()
            next(lines)
            running.process.send_signal(signal.SIGTERM)
            with httpx.Client(base_url=running.url) as other:
                _wait(lambda: other.get("/health").status_code == 503)
                refused = other.post("/v1/chat/completions", json={"model": "nano", "messages": []})
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "stopping")
            assert int(refused.headers["retry-after"]) > 0
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert running.process.wait(10) == 0
    finally:
        running.stop()


def test_a11_health_answers_while_many_stream(server: RunningServer) -> None:
    """A balancer that gets no answer takes the server out. (bench/serve measures 200 streams.)"""
    connections = [_send_and_keep(server, "/v1/chat/completions", {**LONG, "stream": True}) for _ in range(20)]
    _wait(lambda: _figure(server, "num_requests_running") > 10)
    times = []
    for _ in range(100):
        begin = time.monotonic()
        assert server.http.get("/health").status_code == 200
        times.append(time.monotonic() - begin)
    for connection in connections:
        connection.close()
    _wait(lambda: _figure(server, "num_requests_running") == 0)
    assert sorted(times)[90] < 0.25  # here other programs run too


def test_two_servers_on_one_port_are_refused(server: RunningServer) -> None:
    """The second one says which option to change."""
    with pytest.raises(ConfigError, match="choose another --port"):
        bind("127.0.0.1", urlsplit(server.url).port or 0)


def test_a_wrong_model_ends_the_server_with_one_line() -> None:
    """A server that never gets ready would be waited for."""
    command = [sys.executable, "-m", "phi4mm", "serve", "/none/such", "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 1
    assert "/none/such" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "wrong", [{"allowed_media_domains": ("Media.Example",)}, {"allowed_local_media_path": "/none/such"}], ids=str
)
def test_wrong_settings_of_media_are_told_before_the_model_is_loaded(wrong: dict[str, Any]) -> None:
    """A large model loads for minutes."""
    with pytest.raises(ConfigError, match=r"Media\.Example|/none/such"):
        Service(Path("/no/model"), "nano", ServerSettings(**wrong), EngineArgs())


def test_sigterm_while_the_model_loads_ends_the_server_at_once() -> None:
    """A large model loads for minutes; nobody waits for one that is not wanted any more."""
    running = start()
    try:
        assert running.http.get("/health").json() == {"status": "loading"}
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 0
    finally:
        running.stop()


def test_the_command_line_imports_no_web_framework() -> None:
    """`phi4mm serve --help` works without the extra, and says what it would need."""
    program = (
        "import sys, phi4mm.cli.main, phi4mm.cli.serve\n"
        "sys.exit(len({'starlette', 'uvicorn', 'msgspec', 'prometheus_client', 'torch'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0
