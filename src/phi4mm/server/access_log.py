"""Log lines as JSON, one a line: what clients send cannot begin a line, and contents are not logged."""

from __future__ import annotations

import contextlib
import logging
import queue
import sys
import threading
import time
from typing import Any, TextIO

import msgspec
from starlette.types import Scope

MAX_LINES = 10_000  # that wait to be written
LAST_SECONDS = 1.0  # for them at the end of the process
requests = logging.getLogger("phi4mm.requests")


class JSONLines(logging.Formatter):
    """Formats a record as one JSON object; control characters are escaped in it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry: dict[str, Any] = {
            "time": f"{at}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= getattr(record, "entry", {})
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(entry).decode()


class LineQueue(logging.Handler):
    """Lines for a thread that writes them: a reader of stderr that stops reading must not stop the server.

    A line for which there is no room is dropped; the next one that fits says how many were.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream, self._dropped = stream, 0
        self._lines: queue.Queue[str] = queue.Queue(MAX_LINES)
        threading.Thread(target=self._write, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue one line."""
        if self._dropped:
            record.entry = {**getattr(record, "entry", {}), "lines_dropped": self._dropped}
        try:
            self._lines.put_nowait(self.format(record))
            self._dropped = 0
        except queue.Full:
            self._dropped += 1

    def flush(self) -> None:
        """Wait until all is written, or for LAST_SECONDS."""
        end = time.monotonic() + LAST_SECONDS
        while self._lines.unfinished_tasks and time.monotonic() < end:
            time.sleep(0.01)

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            with contextlib.suppress(OSError, ValueError):  # stderr was closed, and there is nowhere to say so
                self._stream.write(line + "\n")
                self._stream.flush()
            self._lines.task_done()


def set_up_logging() -> None:
    """Send all log lines of this process to stderr."""
    handler = LineQueue(sys.stderr)
    handler.setFormatter(JSONLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def log_request(scope: Scope, status: int, seconds: float) -> None:
    """Log an answered request: its id, key, route, status, and time. The route is the pattern, not what was asked."""
    state, route = scope["state"], route_of(scope)
    entry = {
        "request_id": state["request_id"],
        "key": state.get("key"),
        "route": route,
        "status": status,
        "ms": round(seconds * 1000, 1),
        "tokens": state["watch"].tokens,
    }
    requests.info("%s %d", route, status, extra={"entry": entry})


def route_of(scope: Scope) -> str:
    """The pattern of the route that answered."""
    return getattr(scope.get("route"), "path", None) or "other"
