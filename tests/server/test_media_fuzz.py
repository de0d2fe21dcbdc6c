"""bench/media.py finds nothing in a few cases of each kind, and finds what is there to be found."""

from __future__ import annotations

import asyncio
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from phi4mm.processing.tokenizer import Tokenizer
from phi4mm.protocol.messages import Image, Message
from phi4mm.server.preparing import Preparer
from tests.processing.conftest import tokenizer_json
from tests.server.faulty import Faulty

BENCH = Path(__file__).parents[2] / "bench"


def test_hostile_media_end_no_process() -> None:
    """The ten thousand cases of `make prove PART=media`, begun."""
    command = [sys.executable, str(BENCH / "media.py"), "--cases", "140"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    record = json.loads(done.stdout.splitlines()[-1])
    assert (record["read"] + record["refused"], record["good"], record["replaced"]) == (140, 6, 0)
    assert record["times"].keys() == {"text", "image", "audio"}


@pytest.mark.parametrize(
    ("word", "told"),
    [("crash", "the media of the request cannot be decoded"), ("fault", "EngineError: a prompt could not be")],
)
def test_a_fault_is_told_with_its_case(monkeypatch: pytest.MonkeyPatch, word: str, told: str) -> None:
    """A fuzzer that overlooks a process that ended proves nothing."""
    monkeypatch.syspath_prepend(str(BENCH))
    media = importlib.import_module("media")
    monkeypatch.setattr(media, "PROCESSES", 1)
    monkeypatch.setattr(media, "Message", type("Message", (), {"user": lambda item: Message.user(word, item)}))
    monkeypatch.setattr(media, "damaged", lambda cases, seed: iter([(0, "png 0", Image(b"x"))]))
    faulty: Any = Faulty(Tokenizer(tokenizer_json()))
    preparer = Preparer(faulty, processes=1)
    try:
        found = asyncio.run(media.fuzz(preparer, {"good": [Message.user("good", Image(b"x"))]}, 1, 0))
    finally:
        preparer.close()
    assert found["wrong"][0].startswith(f"png 0: {told}")
    assert found["wrong"][1] == "1 processes were replaced, 1 are there"
    assert found["good"] == 1
