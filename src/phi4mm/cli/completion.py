"""`phi4mm completion SHELL`: print the script that completes phi4mm's commands, options and choices in a shell.

The scripts are made from the parsers of the commands. Where they offer nothing, the shell completes names of files.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from phi4mm.cli.main import COMMANDS, load

BASH = """\
_phi4mm() {{
    local offers=() word=${{COMP_WORDS[COMP_CWORD]}}
    case "$COMP_CWORD ${{COMP_WORDS[1]}} ${{COMP_WORDS[COMP_CWORD-1]}}" in
{cases}
    esac
    COMPREPLY=($(compgen -W "${{offers[*]}}" -- "$word"))
}}
complete -o bashdefault -o default -F _phi4mm phi4mm
"""
ZSH = """\
#compdef phi4mm
_phi4mm() {{
    local -a offers
    case "$((CURRENT - 1)) $words[2] $words[CURRENT-1]" in
{cases}
    esac
    compadd -- $offers
    if (( CURRENT > 2 )); then _files; fi
}}
if [[ $funcstack[1] == _phi4mm ]]; then _phi4mm; else compdef _phi4mm phi4mm; fi
"""
SETUP = """\
bash, in ~/.bashrc:                source <(phi4mm completion bash)
zsh, in ~/.zshrc, after compinit:  source <(phi4mm completion zsh)
fish, in ~/.config/fish/config.fish:  phi4mm completion fish | source
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `completion`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell that reads the script")
    parser.epilog = SETUP


def run(args: argparse.Namespace) -> int:
    """Print the script. Returns exit code 0."""
    if args.shell == "fish":
        print("\n".join(_fish()))
    else:
        print((BASH if args.shell == "bash" else ZSH).format(cases="\n".join(_cases())), end="")
    return 0


def _cases() -> Iterator[str]:
    """Branches on the number of the word, the command and the word before; bash and zsh read them alike."""
    commands = " ".join(COMMANDS)
    yield f'    "1 "*) offers=({commands} help);;'
    yield f'    "2 help "*) offers=({commands});;'
    for name in COMMANDS:
        actions = load(name)[1]._actions
        options = [action for action in actions if action.option_strings and action.nargs != 0]
        for values in sorted({tuple(_values(action)) for action in options}):
            before = [word for action in options if tuple(_values(action)) == values for word in action.option_strings]
            patterns = "|".join(f'*" {name} {word}"' for word in before)
            yield f"    {patterns}) offers=({' '.join(values)});;"
        words = [word for action in actions for word in action.option_strings or _values(action)]
        yield f'    *" {name} "*) offers=({" ".join(words)});;'


def _fish() -> Iterator[str]:
    first = "complete -c phi4mm -n __fish_use_subcommand"
    yield f"{first} -f"
    for name, summary in COMMANDS.items():
        yield f"{first} -a {name} -d {_quoted(summary)}"
    yield f"{first} -a help -d 'show the options of a command'"
    yield f"complete -c phi4mm -n '__fish_seen_subcommand_from help' -f -a {_quoted(' '.join(COMMANDS))}"
    for name in COMMANDS:
        for action in load(name)[1]._actions:
            if adds := _fish_action(action):
                yield f"complete -c phi4mm -n '__fish_seen_subcommand_from {name}'{adds}"


def _fish_action(action: argparse.Action) -> str:
    """What an option or a positional argument adds to fish's `complete`."""
    text = "".join(f" -{'l' if option[:2] == '--' else 's'} {option.lstrip('-')}" for option in action.option_strings)
    if values := _values(action):
        text += f" -x -a {_quoted(' '.join(values))}" if text else f" -a {_quoted(' '.join(values))}"
    elif text and action.nargs != 0:
        text += " -r"
    return text + (f" -d {_quoted(action.help)}" if action.help and action.help != argparse.SUPPRESS else "")


def _values(action: argparse.Action) -> list[str]:
    """What may stand for an argument, where that is known: its choices, or the model that is always there."""
    return [str(choice) for choice in action.choices or (("nano",) if action.dest == "model" else ())]


def _quoted(text: str) -> str:
    """Text in the single quotes of fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
