"""Lines that a person types: with editing, Tab completion, and a history that is kept between runs."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

HISTORY_LINES = 1000
HISTORY_BYTES = 2**20


def lines(complete: Callable[[str], list[str]]) -> Iterator[str]:
    """Each line until Ctrl-D; Ctrl-C drops the line that is being typed.

    complete  what Tab may make of the line before the cursor
    """
    remember = _set_up(complete)
    prompt = "> " if sys.stdout.isatty() else ""
    while True:
        try:
            line = input(prompt)
        except KeyboardInterrupt:
            print(file=sys.stderr)
        except EOFError:
            print(file=sys.stderr)
            return
        else:
            try:
                remember()
            except OSError as error:
                _not_remembered(error)
                remember = _nothing
            yield line


def history_file() -> Path:
    """Where typed lines are kept. A relative XDG_STATE_HOME is ignored, as its specification asks."""
    home = os.environ.get("XDG_STATE_HOME", "")
    return Path(home if os.path.isabs(home) else os.path.expanduser("~/.local/state")) / "phi4mm" / "history"


def _set_up(complete: Callable[[str], list[str]]) -> Callable[[], None]:
    """Give `input` completion and the history. Returns what writes the history."""
    try:
        import readline
    except ImportError:  # as Python is built on some systems; lines are then typed without its help
        return _nothing
    readline.set_completer(lambda line, number: dict(enumerate(complete(line))).get(number))
    readline.set_completer_delims("")  # the completer sees the whole line: names of files have spaces
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
    path = history_file()
    try:
        _make_private(path)
        _keep_end(path)
        readline.clear_history()
        readline.read_history_file(path)
    except OSError as error:
        _not_remembered(error)
        return _nothing
    readline.set_history_length(HISTORY_LINES)
    return lambda: readline.write_history_file(path)


def _nothing() -> None:
    """No history is kept."""


def _not_remembered(error: OSError) -> None:
    print(f"phi4mm run: what you type is not remembered: {error}", file=sys.stderr)


def _keep_end(path: Path) -> None:
    """Cut a file that something else made long to its last HISTORY_BYTES, from the start of a line."""
    size = path.stat().st_size
    if size > HISTORY_BYTES:
        with path.open("rb") as file:
            file.seek(size - HISTORY_BYTES)
            end = file.read(HISTORY_BYTES)
        path.write_bytes(end.partition(b"\n")[2])


def _make_private(path: Path) -> None:
    """Make the file, for this user alone. Raises OSError, also where it is no regular file: a pipe would block."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(f"{path} is not a regular file")
        os.fchmod(file, 0o600)
    finally:
        os.close(file)
