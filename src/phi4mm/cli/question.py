"""What a command line asks: the prompt, its images and audio clips, and stdin.

Stdin is read where `-` stands for it (`-p -`, `--audio -`, or `-` as the last word), and without a prompt and media,
where a pipe can only be the prompt. It is never read otherwise: in a shell loop it belongs to the loop. Where data wait
there, a line on stderr says that they were left.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import stat
import struct
import sys
import termios
from dataclasses import dataclass

from phi4mm.config.validate import shown_path
from phi4mm.errors import InputError

STDIN = "-"
MAX_TEXT_BYTES = 16 * 2**20
MAX_MEDIA_BYTES = {"image": 64 * 2**20, "audio": 2**30}
SUFFIXES = {
    "image": (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"),
    "audio": (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aif", ".aiff", ".webm", ".mp4", ".mov"),
}


@dataclass(frozen=True)
class Question:
    """The text, and paths or bytes of images and audio clips, in order."""

    text: str
    images: tuple[str | bytes, ...]
    audios: tuple[str | bytes, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the prompt, in both of its forms, and the media."""
    parser.add_argument("text", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("-p", "--prompt", metavar="TEXT", help="what to ask, as PROMPT; - is stdin")
    for kind in ("image", "audio"):
        parser.add_argument(
            f"--{kind}", nargs="+", action="extend", default=[], metavar="FILE", help=f"{kind} files, in order"
        )


def read_question(args: argparse.Namespace) -> Question:
    """The question, with stdin where it is asked for.

    raises  argparse.ArgumentError when stdin is named twice, or a word names a file;
            InputError when stdin is too long, or is no text
    """
    images, audios, words = list(args.image), list(args.audio), list(args.text)
    # `--image a.png "What is this?"`: the option takes the question too, as it takes several files.
    for files in (images, audios):
        if args.prompt is None and not words and len(files) > 1 and _is_question(files[-1]):
            words.append(files.pop())
    for word in words:
        _refuse_file(word)
    texts = ([] if args.prompt is None else [args.prompt]) + words
    if (named := [*texts, *images, *audios].count(STDIN)) > 1:
        raise argparse.ArgumentError(None, f"- names stdin {named} times; it can be read once")
    if not texts and not images and not audios and not _is_terminal():
        texts = [STDIN]
    elif not named and _data_waits():
        print("phi4mm run: stdin was not read; put - where it belongs, as in --audio -", file=sys.stderr)
    text = "\n".join(part for part in (_read_text() if part == STDIN else part for part in texts) if part)
    return Question(
        text, tuple(_source(path, "image") for path in images), tuple(_source(path, "audio") for path in audios)
    )


def _is_question(word: str) -> bool:
    named = word == STDIN or _kind(word) or os.path.exists(word)
    return not named and (" " in word or word.endswith(("?", ".", "!")))


def _kind(word: str) -> str | None:
    """Image or audio, as the end of a name says; None for other words."""
    return next((kind for kind, ends in SUFFIXES.items() if word.lower().endswith(ends)), None)


def _refuse_file(word: str) -> None:
    """Raise argparse.ArgumentError where a word of the prompt is the name of a file."""
    kind = _kind(word)
    if kind or os.path.isfile(word):
        options = f"--{kind}" if kind else "--image or --audio"
        raise argparse.ArgumentError(
            None, f"{shown_path(word)} is a file's name; did you mean {options}? As text, it comes after -p"
        )


def _is_terminal() -> bool:
    return sys.stdin is None or sys.stdin.isatty()


def _data_waits() -> bool:
    """Whether a pipe or file on stdin holds data that nobody has read yet; nothing is read."""
    try:
        file = -1 if sys.stdin is None else sys.stdin.fileno()
        mode = os.fstat(file).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode)):
            return False
        return struct.unpack("i", fcntl.ioctl(file, termios.FIONREAD, bytes(4))) > (0,)
    except (OSError, io.UnsupportedOperation):  # closed, or no file of the system
        return False


def _read_bytes(limit: int) -> bytes:
    data = b"" if sys.stdin is None else sys.stdin.buffer.read(limit + 1)
    if len(data) > limit:
        raise InputError(f"stdin is longer than {limit} bytes; pipe in less")
    return data


def _read_text() -> str:
    """Stdin as text; a final line break belongs to the shell."""
    try:
        return _read_bytes(MAX_TEXT_BYTES).decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InputError(
            f"stdin is not UTF-8 text at byte {error.start}; name files by --image or --audio, or pipe one to --audio -"
        ) from error


def _source(path: str, kind: str) -> str | bytes:
    return _read_bytes(MAX_MEDIA_BYTES[kind]) if path == STDIN else os.path.expanduser(path)
