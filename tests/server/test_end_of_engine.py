"""A server whose model cannot be loaded, or whose engine has ended, ends too."""

from __future__ import annotations

import asyncio
import errno
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from phi4mm.config.engine import EngineArgs
from phi4mm.errors import EngineError
from phi4mm.server import lifecycle, service
from phi4mm.server.service import Service
from phi4mm.server.settings import ServerSettings

SETTINGS = ServerSettings(port=0)


@pytest.fixture(autouse=True)
def _same_switch_interval() -> Iterator[None]:
    """`serve` changes it for the whole process."""
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


def _serve() -> None:
    with lifecycle.bind("127.0.0.1", 0) as listener:
        lifecycle.serve(Path(), "nano", SETTINGS, EngineArgs(), listener)


def _ended_model(*_: Any, **__: Any) -> Any:
    return SimpleNamespace(closed=True, close=lambda: None, processor=None, settings=SimpleNamespace(reasons=[]))


def test_an_error_of_the_system_while_the_model_loads_ends_the_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With a full disk /health said "loading" for ever, and no line said why."""

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(service, "load_model", full)
    with caplog.at_level(logging.ERROR, "phi4mm.server"), pytest.raises(OSError, match="No space left"):
        _serve()
    assert "No space left" in caplog.text


def test_an_engine_that_has_ended_ends_the_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that answers each chat with 500 must be started again, which nobody does while it lives."""
    monkeypatch.setattr(service, "load_model", _ended_model)
    monkeypatch.setattr(service, "Preparer", lambda *_, **__: SimpleNamespace(close=lambda: None))
    with caplog.at_level(logging.ERROR, "phi4mm.server"), pytest.raises(EngineError, match="start the server again"):
        _serve()
    assert "the engine has ended" in caplog.text


def test_a_server_whose_engine_has_ended_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """/health says 503 for every state but this one."""
    monkeypatch.setattr(service, "load_model", _ended_model)
    monkeypatch.setattr(service, "Preparer", lambda *_, **__: SimpleNamespace(close=lambda: None))
    made = Service(Path(), "nano", SETTINGS, EngineArgs())
    assert made.state == "loading"
    asyncio.run(made.load())
    assert made.state == "closed"
    made.close()
