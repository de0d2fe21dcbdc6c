"""Log lines as JSON, one a line: what clients send cannot begin a line, and contents are not logged."""

from __future__ import annotations

import logging
import time
from typing import Any

import msgspec
from starlette.types import Scope

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


def set_up_logging() -> None:
    """Send all log lines of this process to stderr."""
    handler = logging.StreamHandler()
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
