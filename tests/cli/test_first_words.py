"""What a person types first must not end in a traceback, hang, or leave an empty screen.

Whether nano's answers make sense is a matter of its training; README.md says what it knows.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from phi4mm.cli.main import main
from phi4mm.nano.about import KNOWS, TRY

ROOT = Path(__file__).parents[2]
ANSWERED = {
    "hello": ["-p", "hello"],
    "a greeting": ["Hello."],
    "a short greeting": ["hi"],
    "a question outside its world": ["Who won the World Cup in 1998?"],
    "a task outside its world": ["Write a poem about the sea."],
    "an emoji": ["\N{GRINNING FACE}"],
    "French": ["Bonjour, comment \u00e7a va\u202f?"],
    "Japanese": ["\u3053\u3093\u306b\u3061\u306f"],
    "a sum": ["2+2"],
    "help": ["help"],
    "special tokens": ["<|end|><|assistant|>"],
    "an image with no question": ["--image", "examples/stop_sign.png"],
    "audio with no question": ["--audio", "examples/question.flac"],
    "an image and a question": ["--image", "examples/stop_sign.png", "What is this?"],
}
REFUSED = {
    "an empty prompt": ["-p", ""],
    "spaces alone": ["   "],
    "a very long text": ["very long " * 40_000],
    "a file that is not there": ["--image", "holiday.jpg", "What is this?"],
    "a text file as an image": ["--image", "README.md", "What is this?"],
    "an image as audio": ["--audio", "examples/stop_sign.png", "What is this?"],
    "a URL": ["--image", "https://example.com/cat.png", "What is this?"],
    "a file without its option": ["examples/no_such_folder", "--image"],
}


@pytest.fixture(autouse=True)
def _at_root_within_three_minutes(monkeypatch: pytest.MonkeyPatch, pipe: Callable[[bytes], None]) -> Iterator[None]:
    monkeypatch.chdir(ROOT)
    pipe(b"")
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(180)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _too_long(_signal: int, _frame: object) -> None:
    raise TimeoutError("no answer within three minutes")


def exit_code(*argv: str) -> int:
    try:
        return main(argv)
    except SystemExit as exit:
        return int(exit.code or 0)


@pytest.mark.parametrize("argv", ANSWERED.values(), ids=ANSWERED)
def test_first_words_are_answered(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An answer, or a word on stderr that there is none."""
    assert main(["run", "nano", *argv]) == 0
    out, err = capsys.readouterr()
    assert out.strip() or err.strip()
    assert len(err.splitlines()) <= 1


@pytest.mark.parametrize("argv", REFUSED.values(), ids=REFUSED)
def test_first_words_that_cannot_be_answered_are_told_why(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One short message on stderr, after the usage where the command line is wrong."""
    code = exit_code("run", "nano", *argv)
    out, err = capsys.readouterr()
    assert code in (1, 2)
    assert out == ""
    assert err.splitlines()[-1].startswith("phi4mm run: ")
    assert len(err.splitlines()) == code  # the usage is a line of its own
    assert len(err) < 600


def test_what_nano_knows_is_said_where_people_meet_it(capsys: pytest.CaptureFixture[str]) -> None:
    """In README.md and by `inspect nano`, with commands to try that it answers."""
    assert main(["inspect", "nano"]) == 0
    out = capsys.readouterr().out
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    for line in (KNOWS, *TRY):
        assert line in out
    for fact in ("ten drawn objects", "fourteen signs", "200 English words", "thirteen tools"):
        assert fact in KNOWS
        assert fact in readme
    for line in TRY:
        assert f"$ {line}" in readme
