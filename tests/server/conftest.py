"""A real server on nano for all tests of this folder, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest

ROOT = Path(__file__).parent.parent.parent
SRC = ROOT / "src"
START_SECONDS = 60


@dataclass
class RunningServer:
    """A started `phi4mm serve`, its address, and a client."""

    process: subprocess.Popen[str]
    url: str
    http: httpx.Client
    client: openai.OpenAI
    log: deque[str] = field(default_factory=lambda: deque(maxlen=10_000))  # its last lines, of the shared server

    def chat(self, **body: Any) -> httpx.Response:
        """POST a chat of "Hello." with these fields."""
        messages = body.pop("messages", [{"role": "user", "content": "Hello."}])
        return self.http.post("/v1/chat/completions", json={"model": "nano", "messages": messages, **body})

    def wait_until_ready(self) -> None:
        end = time.monotonic() + START_SECONDS
        while self.http.get("/health").status_code != 200:
            assert time.monotonic() < end, "the server did not get ready"
            assert self.process.poll() is None, "the server ended while it loaded"
            time.sleep(0.05)

    def stop(self) -> None:
        self.http.close()
        self.client.close()
        self.process.kill()
        self.process.communicate()


def start(*arguments: str, env: dict[str, str] | None = None, key: str = "none") -> RunningServer:
    """`phi4mm serve nano` on a free port; returns at once, while the model may still load."""
    command = [sys.executable, "-m", "phi4mm", "serve", "nano", "--port", "0", *arguments]
    environment = os.environ | {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"} | (env or {})
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if found := re.search(r"serves nano at (\S+)", line):
            headers = {"authorization": f"Bearer {key}"}
            http = httpx.Client(base_url=found[1], timeout=60, headers=headers)
            client = openai.OpenAI(base_url=f"{found[1]}/v1", api_key=key, max_retries=0)
            return RunningServer(process, found[1], http, client)
    raise AssertionError(f"the server did not start: {''.join(lines)}")


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    """A ready server that tests share."""
    running = start()
    # Its log goes on, and a full pipe would stop it.
    threading.Thread(target=running.log.extend, args=(running.process.stderr,), daemon=True).start()
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.stop()
