"""The command `phi4mm COMMAND MODEL ...`. The module of a command is imported only when that command is called.

Each of these modules has `configure(parser)`, which declares the arguments, and `run(args)`, which returns the exit
code: 0 fine, 1 failed, 2 wrong use, and 130 when Ctrl-C ended the program. Answers go to stdout, everything else to
stderr; what stderr cannot take is dropped. Output is never coloured, so NO_COLOR needs no handling.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

from phi4mm import __version__
from phi4mm.config.validate import closest, nearest, shown
from phi4mm.errors import PhiError

COMMANDS = {
    "run": "answer a prompt with images and audio clips, or chat",
    "serve": "answer over HTTP, as OpenAI's API does",
    "inspect": "show what is in a checkpoint and how much memory it needs",
    "quantize": "write a checkpoint with weights in 8 or 4 bits",
    "convert": "write a checkpoint in another layout, or only its adapters",
    "verify": "compare what a checkpoint computes with recorded numbers",
    "bench": "measure the speed of a model on this machine",
    "doctor": "show what this machine can do and which settings fit it",
    "train": "train the included model, nano, from scratch",
    "eval": "score nano on its held-out tasks, or compare two records",
    "completion": "print what makes a shell complete commands and options",
}
# Commands that people try, and what does that today.
INSTEAD = {
    "transcribe": 'today: phi4mm run MODEL --audio FILE "Transcribe the audio clip into text."',
    "translate": 'today: phi4mm run MODEL --audio FILE "Translate the audio to English."',
    "read": 'documents are not read yet; today: phi4mm run MODEL --image PAGE "What does this page say?"',
    "ask": 'documents are not read yet; today: phi4mm run MODEL --image PAGE "QUESTION"',
    "batch": "there is no such command yet; `model.batch` in Python answers many requests at once",
    "chat": "type phi4mm run MODEL; without a prompt it is a chat",
    "generate": 'type phi4mm run MODEL "PROMPT"',
    "version": "type phi4mm --version",
}
FIRST = """\
phi4mm: a command is missing. Try first:
  phi4mm run nano "Hello."  ask the included model; without a question: chat
  phi4mm doctor             what this machine can do, and the next command
  phi4mm help               all commands
"""
USAGE = "phi4mm COMMAND MODEL [options]"
INTERRUPTED = 130
MAX_ERROR = 600  # characters


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: sys.argv) and return its exit code.

    raises  SystemExit as argparse does: 0 after --help and --version, 2 after wrong use
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  for the life of the process; `print` would write to stdout
    if argv[:1] == ["help"]:
        argv = [*(word for word in argv[1:2] if word != "help"), "--help"]
    if sys.stdout is None:
        print("phi4mm: stdout is closed; the answer has nowhere to go", file=sys.stderr)
        return 1
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Characters that stdout cannot encode are escaped instead of raising in the middle of an answer.
        sys.stdout.reconfigure(errors="backslashreplace")
    # Pillow warns of an image that is then refused; its name is matched, since the class would import Pillow for help.
    warnings.filterwarnings("ignore", "Image size ", RuntimeWarning)
    try:
        if not argv or argv[0] not in COMMANDS:
            return _without_command(argv)
        command, parser = load(argv[0])
        code: int = command.run(parser.parse(argv[1:]))
        sys.stdout.flush()
    except argparse.ArgumentError as error:
        parser.error(str(error))
    except PhiError as error:
        print(f"phi4mm {argv[0]}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        # As when the reader leaves (`head`) or the disk is full. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"phi4mm {argv[0]}: {error}", file=sys.stderr)
        return 1
    return code


class Parser(argparse.ArgumentParser):
    """Raises OSError where help cannot be written, names what an unknown option may mean, and bounds its errors."""

    def print_help(self, file: Any = None) -> None:
        """Print the help at once; argparse drops it without a word where that fails."""
        print(self.format_help(), end="", file=file)
        sys.stdout.flush()

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """The arguments, options and others in any order. Raises SystemExit as argparse does."""
        args, unknown = self.parse_known_intermixed_args(argv)
        if unknown:
            option = next((word for word in unknown if word.startswith("-")), "").partition("=")[0]
            near = closest(option, self._option_string_actions)
            self.error(f"unrecognized arguments: {' '.join(unknown)}" + (f"; did you mean {near}?" if near else ""))
        return args

    def error(self, message: str) -> NoReturn:
        """As argparse does: print usage and message, and exit with code 2."""
        short = message if len(message) <= MAX_ERROR else f"{message[: MAX_ERROR - 203]}...{message[-200:]}"
        super().error(short)


def load(name: str) -> tuple[ModuleType, Parser]:
    """The module of a command, and the parser of its arguments."""
    command = importlib.import_module(f"phi4mm.cli.{name}")
    parser = Parser(prog=f"phi4mm {name}", description=COMMANDS[name], allow_abbrev=False)
    command.configure(parser)
    return command, parser


def _without_command(argv: list[str]) -> int:
    listing = "\n".join(f"  {name:<10} {summary}" for name, summary in COMMANDS.items())
    parser = Parser(
        prog="phi4mm",
        usage=USAGE,
        description="Phi-4-multimodal: text, images and audio clips in, text out.",
        epilog=f"commands:\n{listing}\n\n"
        "MODEL is `nano` (included), a folder, or a hub id such as\n"
        "microsoft/Phi-4-multimodal-instruct. `phi4mm help COMMAND` shows its options.\n"
        "Exit codes: 0 fine, 1 failed, 2 wrong use.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    if not argv:
        parser.exit(2, FIRST)
    if argv[0] in INSTEAD:
        parser.exit(2, f"phi4mm {argv[0]}: {INSTEAD[argv[0]]}\n")
    if argv[0] == "nano" or os.path.isdir(argv[0]):
        parser.error(f"{shown(argv[0])} is a model, not a command; did you mean phi4mm run {argv[0]:.60}?")
    if not argv[0].startswith("-"):
        parser.error(f"unknown command {shown(argv[0])}; {nearest(argv[0], COMMANDS)}")
    if parser.parse_args(argv).version:
        print(f"phi4mm {__version__}", flush=True)
        parser.exit()
    parser.exit(2, FIRST)
