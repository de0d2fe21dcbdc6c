"""The chat of `phi4mm run MODEL` at a terminal. Ctrl-C stops the answer, not the program."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from phi4mm.config.validate import closest
from phi4mm.errors import PhiError
from phi4mm.protocol.messages import Audio, Image, Message, Tool
from phi4mm.protocol.request import ResponseFormat
from phi4mm.protocol.sampling import SamplingParams

if TYPE_CHECKING:
    from phi4mm.inference.model import Model
    from phi4mm.inference.stream import Stream

COMMANDS = ("/image", "/audio", "/reset", "/exit")
GREETING = "/image PATH and /audio PATH attach a file to the next message, /reset begins anew, /exit or Ctrl-D leaves"


def write_answer(stream: Stream) -> tuple[str, bool]:
    """Write an answer to stdout as it grows; returns what was written and whether Ctrl-C left it whole."""
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


def chat(
    model: Model,
    media: Sequence[Image | Audio],
    *,
    system: str | None,
    tools: Sequence[Tool],
    params: SamplingParams,
    response_format: ResponseFormat | None,
    adapter: str,
) -> int:
    """Talk until Ctrl-D or /exit; `media` go with the first message. Returns the exit code, 0."""
    print(GREETING, file=sys.stderr)
    beginning = [Message.system(system)] if system else []
    history, attached = beginning, list(media)
    for line in _lines():
        command, _, rest = line.partition(" ")
        if command == "/exit":
            return 0
        if command == "/reset":
            history, attached = beginning, []
        elif command in ("/image", "/audio"):
            _attach(attached, command, rest.strip())
        elif command.startswith("/"):
            near = closest(command, COMMANDS) or ", ".join(COMMANDS)
            _complain(f"unknown command {command}; expected {near}, or begin with a space to say it")
        elif parts := (*attached, *([line] if line.strip() else [])):
            # Media that failed would fail again, so they go with the message either way.
            turn, attached = Message.user(*parts), []
            with _complaining():
                stream = model.stream(
                    [*history, turn], tools=tools, params=params, response_format=response_format, adapter=adapter
                )
                answer, _ = write_answer(stream)
                if answer:
                    history = [*history, turn, Message.assistant(answer)]
    return 0


def _lines() -> Iterator[str]:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (gives input() editing and history)
    prompt = "> " if sys.stdout.isatty() else ""
    while True:
        try:
            yield input(prompt)
        except KeyboardInterrupt:
            print(file=sys.stderr)
        except EOFError:
            print(file=sys.stderr)
            return


def _attach(attached: list[Image | Audio], command: str, name: str) -> None:
    path = os.path.expanduser(name)
    if not os.path.isfile(path):
        _complain(f"{name!r} is no file; nothing was attached")
        return
    attached.append(Image(path) if command == "/image" else Audio(path))


@contextlib.contextmanager
def _complaining() -> Iterator[None]:
    """A turn that fails is left out of the conversation, which goes on."""
    try:
        yield
    except PhiError as error:
        _complain(f"{error} (this message was dropped)")


def _complain(message: str) -> None:
    print(f"phi4mm run: {message}", file=sys.stderr)
