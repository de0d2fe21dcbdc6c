from __future__ import annotations

import contextlib
import os
import select
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import pytest

from phi4mm.cli import terminal
from phi4mm.cli.chat import COMMANDS, completions
from phi4mm.cli.main import main
from phi4mm.errors import EngineError
from phi4mm.protocol.messages import Audio, Image, Message
from tests.cli.fake_model import FakeModel

TypeLines = Callable[[Sequence[str | type[BaseException]]], None]
EXAMPLES = Path(__file__).parents[2] / "examples"
SIGN, SPEECH = str(EXAMPLES / "stop_sign.png"), str(EXAMPLES / "speech.flac")


def test_the_chat_keeps_its_history_until_reset(
    model: FakeModel, type_lines: TypeLines, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each turn includes the earlier ones; /reset keeps only the system message."""
    type_lines(["one", "two", "/reset", "three", "/exit", "never"])
    assert main(["run", "nano", "--system", "be brief"]) == 0
    start, first_turn = Message.system("be brief"), [Message.user("one"), Message.assistant("2 é")]
    assert [call.messages for call in model.calls] == [
        [start, Message.user("one")],
        [start, *first_turn, Message.user("two")],
        [start, Message.user("three")],
    ]
    assert capsys.readouterr().out == "2 é\n4 é\n2 é\n"


def test_the_chat_attaches_files_to_the_next_message(
    model: FakeModel, type_lines: TypeLines, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """File names may have spaces, a missing file is reported at once, and an empty line sends the media alone."""
    image, clip = tmp_path / "my image.png", tmp_path / "q.flac"
    image.symlink_to(SIGN)
    clip.symlink_to(SPEECH)
    lines = [f"/image {image}", "/image gone.png", "what?", "", f"/audio {clip}", "", f"/image {image}", "/reset"]
    type_lines([*lines, "plain"])
    assert main(["run", "nano", "--audio", SPEECH]) == 0
    assert [call.messages[-1] for call in model.calls] == [
        Message.user(Audio(SPEECH), Image(str(image)), "what?"),
        Message.user(Audio(str(clip))),
        Message.user("plain"),
    ]
    assert (
        "phi4mm run: image 'gone.png' does not exist; give the path of a file, or its bytes\n"
        in capsys.readouterr().err
    )


def test_a_misspelled_chat_command_is_not_sent_to_the_model(
    model: FakeModel, type_lines: TypeLines, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model would answer `/imgae cat.png` as if it were a question."""
    type_lines(["/imgae cat.png", " /home is a folder"])
    assert main(["run", "nano"]) == 0
    assert [call.messages for call in model.calls] == [[Message.user(" /home is a folder")]]
    assert "unknown command '/imgae'; expected /image, or start the line with a space" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (SIGN, "stop_sign.png' is a file; attach it with /image FILE or /audio FILE"),
        (f"'{SIGN}' ", "is a file; attach it"),
        ("exit", "type /exit;"),
        ("Quit ", "type /exit;"),
        ("help", "type /help;"),
        ("/clear", "type /reset;"),
        ("/reset now", "/reset takes nothing after it; found 'now'"),
        ("/exit now", "/exit takes nothing after it; found 'now'"),
    ],
)
def test_case_c_chat_does_not_send_what_means_a_command(
    model: FakeModel, type_lines: TypeLines, capsys: pytest.CaptureFixture[str], line: str, said: str
) -> None:
    """A file that was dragged into the terminal, or `exit`, was answered as if it were a question."""
    type_lines([line, f" {line}", "help me"])
    assert main(["run", "nano"]) == 0
    assert said in capsys.readouterr().err
    assert [call.messages[-1] for call in model.calls] == [Message.user(f" {line}"), Message.user("help me")]


def test_case_c_chat_reads_the_length_of_a_clip_from_its_header(
    model: FakeModel, type_lines: TypeLines, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An hour of sound was decoded to print its seconds, and once more with the question."""
    monkeypatch.setattr("phi4mm.processing.audio_file._libsndfile_blocks", lambda file: iter(()))
    type_lines([f"/audio {SPEECH}"])
    assert main(["run", "nano"]) == 0
    assert "attached: audio clip speech.flac, 1.6 s\n" in capsys.readouterr().err


def test_ctrl_c_stops_the_answer_but_not_the_chat(
    model: FakeModel, type_lines: TypeLines, capsys: pytest.CaptureFixture[str]
) -> None:
    """The text so far stays in the conversation, so that `go on` works; Ctrl-C at the prompt does nothing."""

    def first_interrupted(messages: Sequence[Message]) -> Iterator[str]:
        yield "once"
        if len(messages) == 1:
            raise KeyboardInterrupt
        yield " upon"

    model.answer = first_interrupted
    type_lines(["a story", KeyboardInterrupt, "go on"])
    assert main(["run", "nano"]) == 0
    assert capsys.readouterr().out == "once\nonce upon\n"
    expected = [Message.user("a story"), Message.assistant("once"), Message.user("go on")]
    assert model.calls[1].messages == expected
    assert model.streams[0].closed


def test_a_message_that_fails_is_dropped_and_the_chat_goes_on(
    model: FakeModel, type_lines: TypeLines, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged image in the history would make every later turn fail too."""

    def second_fails(messages: Sequence[Message]) -> Iterator[str]:
        if messages[-1] == Message.user("bad"):
            yield "half"
            raise EngineError("no numbers", "r1")
        yield "fine"

    model.answer = second_fails
    type_lines(["good", "bad", "again"])
    assert main(["run", "nano"]) == 0
    assert "phi4mm run: request r1: no numbers (this message was dropped)\n" in capsys.readouterr().err
    assert model.calls[2].messages == [Message.user("good"), Message.assistant("fine"), Message.user("again")]


def test_case_c_chat_help_lists_every_command(
    model: FakeModel, type_lines: TypeLines, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that is not listed is never found."""
    type_lines(["/help"])
    assert main(["run", "nano"]) == 0
    err = capsys.readouterr().err
    assert [name for name in COMMANDS if f"\n{name} " not in err] == []
    assert "nano is tiny: it knows ten drawn objects" in err
    assert model.calls == []


def test_case_c_chat_says_what_was_attached(
    model: FakeModel, type_lines: TypeLines, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The wrong file of two, or a clip of no length, is noticed before the answer; what cannot be read is refused."""
    (tmp_path / "my sign.png").symlink_to(SIGN)
    (tmp_path / "empty.png").touch()
    names = [f'"{tmp_path}/my sign.png" {SIGN}', f"{tmp_path}/my sign.png", f"{tmp_path}/empty.png", "'open", ""]
    type_lines([*(f"/image {name}" for name in names), "what?"])
    assert main(["run", "nano", "--audio", SPEECH]) == 0
    said = capsys.readouterr().err
    assert said.count("attached: image my sign.png, 224 x 224 pixels\n") == 2
    assert said.count("attached: image stop_sign.png, 224 x 224 pixels\n") == 1
    assert "attached: audio clip speech.flac, 1.6 s\n" in said
    assert f"phi4mm run: image '{tmp_path}/empty.png' is empty (0 bytes)" in said
    assert 'phi4mm run: image "\'open" does not exist' in said
    assert "phi4mm run: /image needs the name of a file; Tab completes it\n" in said
    media = (Audio(SPEECH), Image(f"{tmp_path}/my sign.png"), Image(SIGN), Image(f"{tmp_path}/my sign.png"))
    assert [call.messages for call in model.calls] == [[Message.user(*media, "what?")]]


def test_case_c_chat_undo_takes_back_what_is_attached_and_then_turns(
    model: FakeModel, type_lines: TypeLines, capsys: pytest.CaptureFixture[str]
) -> None:
    """A question that went wrong need not end the conversation."""
    type_lines(["one", "two", f"/image {SIGN}", "/undo", "/undo", "three", "/undo", "/undo", "/undo", "four"])
    assert main(["run", "nano"]) == 0
    assert model.calls[2].messages == [Message.user("one"), Message.assistant("1 é"), Message.user("three")]
    assert model.calls[3].messages == [Message.user("four")]
    said = capsys.readouterr().err
    assert "1 attached file taken back\ntaken back: two\n" in said
    assert "taken back: three\ntaken back: one\nthere is nothing to take back\n" in said


def test_case_c_chat_system_changes_the_instructions(model: FakeModel, type_lines: TypeLines) -> None:
    """It replaces --system, goes on after /reset, and is removed by an empty one."""
    type_lines(["/system be kind", "one", "/reset", "two", "/system", "three"])
    assert main(["run", "nano", "--system", "be brief"]) == 0
    kind = Message.system("be kind")
    assert [call.messages[0] for call in model.calls] == [kind, kind, Message.user("two")]


@pytest.mark.parametrize(("argv", "told"), [([], 2), (["--adapter", "none"], 0)])
def test_case_c_chat_says_that_an_old_image_keeps_the_vision_adapter(
    model: FakeModel, type_lines: TypeLines, capsys: pytest.CaptureFixture[str], argv: list[str], told: int
) -> None:
    """By the published rule: said at the first message that has no image of its own, once in a conversation."""
    image = [f"/image {SIGN}", "what?"]
    type_lines(["hi", *image, *image, "and now?", f"/audio {SPEECH}", "", "/reset", "hi", *image, "hi"])
    assert main(["run", "nano", *argv]) == 0
    assert capsys.readouterr().err.count("media of earlier messages keep the vision adapter") == told


def test_case_c_chat_says_the_speed_and_an_empty_answer(
    model: FakeModel, type_lines: TypeLines, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty line on the screen looks like a hang."""

    def second_is_empty(messages: Sequence[Message]) -> Iterator[str]:
        yield "\n" if messages[-1] == Message.user("two") else "one"

    model.answer = second_is_empty
    type_lines(["one", "two"])
    assert main(["run", "nano"]) == 0
    said = capsys.readouterr().err
    assert said.count("2 tokens in 0.0 s, ") == 2
    assert said.count("phi4mm run: the model's answer is empty; ask in other words\n") == 1


def test_ctrl_c_before_the_first_word_does_not_end_the_chat(
    model: FakeModel, type_lines: TypeLines, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images and sound are processed for seconds before an answer begins."""
    stream = model.stream

    def interrupted(messages: Sequence[Message], **settings: object) -> object:
        monkeypatch.setattr(model, "stream", stream)
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "stream", interrupted)
    type_lines(["one", "/exit"])
    assert main(["run", "nano"]) == 0
    assert "stopped\n" in capsys.readouterr().err


def test_case_c_tab_completes_commands_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names may have spaces, or be in quotation marks; hidden files come only when they are asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my images").mkdir()
    for name in ("my images/a b.png", "mine.png", ".hidden", "line\nbreak"):
        (tmp_path / name).touch()
    assert completions("/") == [name + " " * bool(follows) for name, (follows, _) in COMMANDS.items()]
    assert completions("/re") == ["/reset"]
    assert completions("/image m") == ["/image mine.png", "/image my images/"]
    assert completions("/image ") == completions("/image m")
    assert completions("/audio my images/a") == ["/audio my images/a b.png"]
    assert completions("/image '~/my images/") == ["/image '~/my images/a b.png'"]
    assert completions("/image .h") == ["/image .hidden"]
    assert completions("/image no/such/folder/") == completions("/system m") == completions("hello m") == []


class Screen:
    """A chat with nano in a terminal of its own."""

    def __init__(self, *argv: str) -> None:
        # The program gets the terminal as its controlling one, so that Ctrl-C reaches it as a signal.
        own = (
            "import fcntl, os, sys, termios\n"
            "os.setsid()\n"
            "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
            "os.execv(sys.argv[1], sys.argv[1:])"
        )
        self._keys, terminal = os.openpty()
        command = [sys.executable, "-c", own, sys.executable, "-m", "phi4mm", "run", "nano", *argv]
        self._process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, cwd=EXAMPLES)
        os.close(terminal)

    def press(self, keys: str, until: str) -> str:
        """Press keys, and wait for a text. Returns what appeared up to it."""
        os.write(self._keys, keys.encode())
        seen, end = b"", time.monotonic() + 60
        while until.encode() not in seen:
            assert select.select([self._keys], [], [], max(0, end - time.monotonic()))[0], seen
            seen += os.read(self._keys, 1)
        return seen.decode()

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._keys)

    def leave(self) -> int:
        """Press Ctrl-D until the program ends: a key between two prompts is lost when the terminal changes its mode."""
        for _ in range(60):
            os.write(self._keys, b"\x04")
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._process.wait(1)
        raise AssertionError("the chat did not end")


def test_case_c_chat_in_a_terminal(tmp_path: Path) -> None:
    """Tab, what was attached, the speed, Ctrl-C, and the history of an earlier run with the arrow key."""
    pytest.importorskip("readline")
    pytest.importorskip("llguidance")
    with Screen("--regex", "(ab){9000}", "--max-tokens", "15000") as screen:
        screen.press("", "\n> ")
        screen.press("/im\tstop_s\t", "/image stop_sign.png")
        screen.press("\n", "attached: image stop_sign.png, 224 x 224 pixels")
        screen.press("what is this?\n", "abab")
        stopped = time.monotonic()
        screen.press("\x03", "stopped")
        assert time.monotonic() - stopped < 6  # the whole answer takes a minute
        screen.press("", "> ")
        assert "taken back: what is this?" in screen.press("/undo\n", "> ")
        assert screen.leave() == 0
    history = tmp_path / "state" / "phi4mm" / "history"
    assert history.read_text().splitlines() == ["/image stop_sign.png", "what is this?", "/undo"]
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert stat.S_IMODE(history.parent.stat().st_mode) == 0o700
    with Screen() as again:
        again.press("", "\n> ")
        again.press("\x1b[A\n", "there is nothing to take back")
        again.press("", "> ")
        again.press("Hello.\n", "tokens/s")
        assert again.leave() == 0


def test_a_history_that_cannot_be_kept_is_said(
    model: FakeModel, type_lines: TypeLines, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A named pipe would hang the chat."""
    pytest.importorskip("readline")
    (tmp_path / "state" / "phi4mm").mkdir(parents=True)
    os.mkfifo(tmp_path / "state" / "phi4mm" / "history")
    type_lines(["hi"])
    assert main(["run", "nano"]) == 0
    assert "phi4mm run: what you type is not remembered: " in capsys.readouterr().err
    assert len(model.calls) == 1


def test_case_c_a_history_whose_folder_goes_is_told_once(
    model: FakeModel, type_lines: TypeLines, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The chat ended with a traceback."""
    pytest.importorskip("readline")
    folder = tmp_path / "state" / "phi4mm"

    def remove(messages: Sequence[Message]) -> Iterator[str]:
        shutil.rmtree(folder, ignore_errors=True)
        yield "fine"

    model.answer = remove
    type_lines(["one", "two", "three"])
    assert main(["run", "nano"]) == 0
    assert len(model.calls) == 3
    assert capsys.readouterr().err.count("what you type is not remembered") == 1


def test_case_c_a_huge_history_is_cut_to_its_end(
    model: FakeModel, type_lines: TypeLines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """240 MB of lines took 2.5 GB."""
    pytest.importorskip("readline")
    history = tmp_path / "state" / "phi4mm" / "history"
    history.parent.mkdir(parents=True)
    history.write_text("".join(f"line {number}\n" for number in range(100)))
    monkeypatch.setattr(terminal, "HISTORY_BYTES", 20)
    type_lines([])
    assert main(["run", "nano"]) == 0
    assert history.read_text() == "line 98\nline 99\n"
