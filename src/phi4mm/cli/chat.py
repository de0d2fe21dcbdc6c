"""The chat of `phi4mm run MODEL` at a terminal. Ctrl-C stops the current answer, not the program."""

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
from phi4mm.protocol.response import Reply
from phi4mm.protocol.sampling import SamplingParams

if TYPE_CHECKING:
    from phi4mm.inference.model import Model
    from phi4mm.inference.stream import Stream

COMMANDS = ("/image", "/audio", "/reset", "/exit")
GREETING = (
    "/image PATH and /audio PATH attach a file to the next message; /reset starts a new conversation; "
    "/exit or Ctrl-D quits"
)


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
    """Say on stderr that an answer is not complete, and why."""
    if reply.finish_reason == "length" and reply.usage.completion_tokens >= params.max_tokens:
        _print_error(f"the answer was cut at --max-tokens {params.max_tokens}; give a larger number for the rest")
    elif reply.finish_reason == "length":
        _print_error("the answer was cut where the model's context ends; ask with a shorter prompt")


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
    """Read messages and answer them until Ctrl-D or /exit; `media` belong to the first message. Returns exit code 0."""
    print(GREETING, file=sys.stderr)
    initial = [Message.system(system)] if system else []
    history, attached = initial, list(media)
    for line in _lines():
        command, _, rest = line.partition(" ")
        if command == "/exit":
            return 0
        if command == "/reset":
            history, attached = initial, []
        elif command in ("/image", "/audio"):
            _attach(attached, command, rest.strip())
        elif command.startswith("/"):
            near = closest(command, COMMANDS) or ", ".join(COMMANDS)
            _print_error(
                f"unknown command {command}; expected {near}, or start the line with a space to send it as text"
            )
        elif parts := (*attached, *([line] if line.strip() else [])):
            # A message that fails takes its media along: they would fail again in the next one.
            turn, attached = Message.user(*parts), []
            with _errors_printed():
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
        _print_error(f"{name!r} is not a file; nothing was attached")
        return
    attached.append(Image(path) if command == "/image" else Audio(path))


@contextlib.contextmanager
def _errors_printed() -> Iterator[None]:
    """Print the error of a turn that fails; the conversation goes on without that turn."""
    try:
        yield
    except PhiError as error:
        _print_error(f"{error} (this message was dropped)")


def _print_error(message: str) -> None:
    print(f"phi4mm run: {message}", file=sys.stderr)
