from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import phi4mm
from tests.cli.fake_model import FakeModel


@pytest.fixture(autouse=True)
def _history_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What tests type is not added to the history of the person who runs them."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


class Terminal(io.StringIO):
    """A stdin that reports to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Makes stdin a pipe with these bytes."""

    def put(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return put


@pytest.fixture
def type_lines(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[str | type[BaseException]]], None]:
    """Makes stdin a terminal where these lines are typed; an exception stands for Ctrl-C or Ctrl-D."""

    def put(lines: Sequence[str | type[BaseException]]) -> None:
        remaining = iter(lines)

        def read(prompt: str = "") -> str:
            line = next(remaining, EOFError)
            if isinstance(line, str):
                return line
            raise line

        monkeypatch.setattr(sys, "stdin", Terminal())
        monkeypatch.setattr("builtins.input", read)

    return put


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, pipe: Callable[[bytes], None]) -> FakeModel:
    """`phi4mm.load` returns this model, whatever its arguments; stdin is an empty pipe."""
    fake = FakeModel()
    pipe(b"")

    def load(name: str, *, device: str, dtype: str, quantize: str | None, adapters: dict[str, str] | None) -> FakeModel:
        fake.folders |= adapters or {}
        return fake

    monkeypatch.setattr(phi4mm, "load", load)
    return fake
