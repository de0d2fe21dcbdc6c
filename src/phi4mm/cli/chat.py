"""The chat of `phi4mm run MODEL` at a terminal. Ctrl-C stops the current answer, not the program."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from phi4mm.cli.conversation import Conversation, describe, paths
from phi4mm.cli.terminal import lines
from phi4mm.config.validate import closest, shown, shown_path
from phi4mm.errors import InputError, PhiError
from phi4mm.protocol.messages import Audio, Image, Message
from phi4mm.protocol.response import Reply
from phi4mm.protocol.sampling import SamplingParams

if TYPE_CHECKING:
    from phi4mm.inference.stream import Stream

    Ask: TypeAlias = Callable[[list[Message]], Stream]

COMMANDS = {  # what may follow, and what it does
    "/image": ("FILE ...", "attach images to the next message"),
    "/audio": ("FILE ...", "attach audio clips to the next message"),
    "/system": ("TEXT", "instructions for the answers from here on; without TEXT, none"),
    "/undo": ("", "take back what is attached, or else the last message"),
    "/reset": ("", "start a new conversation"),
    "/help": ("", "show this list"),
    "/exit": ("", "leave, as Ctrl-D does; Ctrl-C stops an answer"),
}
# What people type for a command; as a line of its own it is not sent.
MEANT = {
    "exit": "/exit",
    "quit": "/exit",
    "help": "/help",
    "/quit": "/exit",
    "/bye": "/exit",
    "/clear": "/reset",
    "/new": "/reset",
}
MEDIA: dict[str, type[Image | Audio]] = {"/image": Image, "/audio": Audio}


def write_answer(stream: Stream) -> tuple[str, bool]:
    """Write an answer to stdout as it is generated. Returns its text, and False if Ctrl-C stopped it."""
    pieces: list[str] = []
    complete = True
    with stream:
        try:
            for piece in stream:
                pieces.append(piece)
                print(piece, end="", flush=True)
        except KeyboardInterrupt:
            complete = False
    print(flush=True)
    return "".join(pieces), complete


def warn_if_cut(reply: Reply, params: SamplingParams) -> None:
    """Say on stderr that an answer is empty or not complete, and why."""
    if reply.finish_reason == "length" and reply.usage.completion_tokens >= params.max_tokens:
        _say(f"the answer was cut at --max-tokens {params.max_tokens}; give a larger number for the rest")
    elif reply.finish_reason == "length":
        _say("the answer was cut where the model's context ends; ask with a shorter prompt")
    elif not reply.text.strip():
        _say("the model's answer is empty; ask in other words")


def chat(ask: Ask, talk: Conversation, params: SamplingParams, *, auto: bool) -> int:
    """Read messages and answer them until Ctrl-D or /exit. Returns exit code 0.

    ask   streams the answer to messages
    talk  with the media of the first message attached
    auto  whether the media of the conversation choose the adapter
    raises  InputError where an attached file cannot be read
    """
    _note("/help lists the commands; Ctrl-D leaves")
    for part in talk.attached:
        _note(f"attached: {describe(part)}")
    told = False
    for line in lines(completions):
        command, _, rest = line.partition(" ")
        if line.strip() == "/exit":
            return 0
        if refused := _not_sent(line):
            _say(refused)
        elif command.startswith("/"):
            told = told and command not in ("/undo", "/reset")
            with _errors_said():
                _obey(talk, command, rest.strip())
        elif parts := (*talk.attached, *([line] if line.strip() else [])):
            # A message that fails takes its media along: they would fail again in the next one.
            talk.attached = []
            message = Message.user(*parts)
            if auto and not told and (kept := talk.kept_adapter(message)):
                told = True
                _note(f"media of earlier messages keep the {kept} adapter; /undo takes them back, /reset drops them")
            with _errors_said(" (this message was dropped)"):
                _answer(ask, talk, message, params)
    return 0


def completions(line: str) -> list[str]:
    """What Tab may make of a line: commands, and files after a command that takes some."""
    command, space, typed = line.partition(" ")
    if not space:
        return [name + " " * bool(follows) for name, (follows, _) in COMMANDS.items() if name.startswith(line)]
    if command not in MEDIA:
        return []
    quote = typed[:1] if typed[:1] in ("'", '"') else ""
    folder, name = os.path.split(typed.removeprefix(quote))
    start = line.removesuffix(name)
    with contextlib.suppress(OSError), os.scandir(os.path.expanduser(folder) or ".") as entries:
        return sorted(
            start + entry.name + ("/" if entry.is_dir() else quote)
            for entry in entries
            if entry.name.startswith(name) and entry.name.isprintable() and (name or not entry.name.startswith("."))
        )
    return []


def _answer(ask: Ask, talk: Conversation, message: Message, params: SamplingParams) -> None:
    """Write the answer, with its speed on stderr. A turn without an answer is dropped."""
    begun = time.perf_counter()
    stream = ask(talk.messages(message))
    answer, complete = write_answer(stream)
    if answer:
        talk.turns.append((message, Message.assistant(answer)))
    if not complete:
        _note("stopped")
        return
    seconds, tokens = time.perf_counter() - begun, stream.reply.usage.completion_tokens
    _note(f"{tokens} tokens in {seconds:.1f} s, {tokens / seconds:.0f} tokens/s")
    warn_if_cut(stream.reply, params)


def _not_sent(line: str) -> str | None:
    """Why a line is not sent: it names files, or means a command. A space before it sends it."""
    word = line.strip()
    if word and not line.startswith(" ") and all(map(_is_file, paths(word))):
        return f"{shown_path(word)} is a file; attach it with /image FILE or /audio FILE, or put a space before it"
    if line not in COMMANDS and line.rstrip().lower() in MEANT:
        return f"type {MEANT[line.rstrip().lower()]}; as text it begins with a space"
    return None


def _is_file(path: str) -> bool:
    """Whether it is the name of a file, with a suffix: in many folders a plain word names one."""
    return bool(os.path.splitext(path)[1]) and os.path.isfile(path)


def _obey(talk: Conversation, command: str, rest: str) -> None:
    """Run a command on the conversation. Raises InputError where a file cannot be read, or the command is unknown."""
    if rest and command in COMMANDS and not COMMANDS[command][0]:
        raise InputError(f"{command} takes nothing after it; found {shown(rest)}")
    if command in MEDIA:
        for path in paths(rest):
            part = MEDIA[command](path)
            _note(f"attached: {describe(part)}")
            talk.attached.append(part)
        if not rest:
            raise InputError(f"{command} needs the name of a file; Tab completes it")
    elif command == "/system":
        talk.system = rest or None
        _note("the system message is set" if rest else "there is no system message")
    elif command == "/undo":
        _note(talk.undo())
    elif command == "/reset":
        talk.turns, talk.attached = [], []
        _note("a new conversation" + (", with the system message" if talk.system else ""))
    elif command == "/help":
        for name, (follows, summary) in COMMANDS.items():
            _note(f"{f'{name} {follows}':<18}{summary}")
        _note("Any other line is a message; a space before a / makes it one.")
    else:
        near = closest(command, COMMANDS) or ", ".join(COMMANDS)
        raise InputError(
            f"unknown command {shown(command)}; expected {near}, or start the line with a space to send it as text"
        )


@contextlib.contextmanager
def _errors_said(more: str = "") -> Iterator[None]:
    """Say the error of a line that fails, or that Ctrl-C stopped it; the conversation goes on without it."""
    try:
        yield
    except KeyboardInterrupt:
        _note("stopped")
    except PhiError as error:
        _say(f"{error}{more}")


def _say(message: str) -> None:
    _note(f"phi4mm run: {message}")


def _note(message: str) -> None:
    print(message, file=sys.stderr)
