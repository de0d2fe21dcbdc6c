"""The command `phi4mm COMMAND MODEL ...`. The module of a command is imported only when that command is called.

Each of these modules has `configure(parser)`, which declares the arguments, and `run(args)`, which returns the exit
code: 0 fine, 1 failed, 2 wrong use, and 130 when Ctrl-C ended the program. Answers go to stdout, everything else to
stderr. Output is never coloured, so NO_COLOR needs no handling.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence

from phi4mm import __version__
from phi4mm.config.validate import nearest, shown
from phi4mm.errors import PhiError

COMMANDS = {
    "run": "answer a prompt with images and audio clips, or chat",
    "inspect": "show what is in a checkpoint and how much memory it needs",
    "quantize": "write a checkpoint with weights in 8 or 4 bits",
    "convert": "write a checkpoint in another layout, or only its adapters",
    "verify": "compare what a checkpoint computes with recorded numbers",
    "bench": "measure the speed of a model on this machine",
    "doctor": "show what this machine can do and which settings fit it",
    "train": "train the included model, nano, from scratch",
}
USAGE = "phi4mm COMMAND MODEL [options]"
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: sys.argv) and return its exit code.

    raises  SystemExit as argparse does: 0 after --help and --version, 2 after wrong use
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if sys.stdout is None:
        print("phi4mm: stdout is closed; the answer has nowhere to go", file=sys.stderr)
        return 1
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Characters that stdout cannot encode are escaped instead of raising in the middle of an answer.
        sys.stdout.reconfigure(errors="backslashreplace")
    if not argv or argv[0] not in COMMANDS:
        return _without_command(argv)
    command = importlib.import_module(f"phi4mm.cli.{argv[0]}")
    parser = argparse.ArgumentParser(prog=f"phi4mm {argv[0]}", description=COMMANDS[argv[0]], allow_abbrev=False)
    command.configure(parser)
    args = parser.parse_intermixed_args(argv[1:])
    try:
        code: int = command.run(args)
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


def _without_command(argv: list[str]) -> int:
    listing = "\n".join(f"  {name:<10} {summary}" for name, summary in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="phi4mm",
        usage=USAGE,
        description="Phi-4-multimodal: text, images and audio clips in, text out.",
        epilog=f"commands:\n{listing}\n\n"
        "MODEL is `nano` (included), a folder, or a hub id such as\n"
        "microsoft/Phi-4-multimodal-instruct. `phi4mm COMMAND --help` shows its options.\n"
        "Exit codes: 0 fine, 1 failed, 2 wrong use.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"phi4mm {__version__}")
    if argv and not argv[0].startswith("-"):
        parser.error(f"unknown command {shown(argv[0])}; {nearest(argv[0], COMMANDS)}")
    parser.parse_args(argv)
    parser.error(f"a command is missing; expected one of {', '.join(COMMANDS)}")
