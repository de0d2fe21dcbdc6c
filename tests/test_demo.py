"""`make demo` answers correctly on the files in examples/."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_demo_answers_every_question_correctly(capsys: pytest.CaptureFixture[str]) -> None:
    """The first thing that a new user sees: images, speech, a spoken question and a tool call, none from training."""
    main = runpy.run_path(str(EXAMPLES / "demo.py"))["main"]
    assert main() == 0
    shown = capsys.readouterr().out
    answers = [line.removeprefix("  answer").strip() for line in shown.splitlines() if line.startswith("  answer")]
    assert answers == [
        "A stop sign.",
        "A blue square at the bottom.",
        "The clean farmer is late.",
        "Blue.",
        'functools[{"name": "get_weather", "arguments": {"city": "Paris"}}]',
    ]
    assert "call      get_weather(city='Paris')" in shown
    assert "stop_sign.png" in shown
    assert "speech.flac  1.6 s" in shown
