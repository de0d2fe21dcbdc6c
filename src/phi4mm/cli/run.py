"""`phi4mm run MODEL`: answer one prompt, which may come from a pipe, or chat at the terminal (chat.py)."""

from __future__ import annotations

import argparse
import functools
import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import Field, asdict, fields
from pathlib import Path
from typing import Any

import phi4mm
from phi4mm.cli.chat import COMMANDS, chat, warn_if_cut, write_answer
from phi4mm.cli.conversation import Conversation
from phi4mm.cli.question import add_arguments, read_question
from phi4mm.config.engine import DTYPES, QUANTIZATIONS, EngineConfig
from phi4mm.config.json_file import read_json_as
from phi4mm.config.validate import shown, shown_path
from phi4mm.errors import ConfigError, InputError
from phi4mm.nano.about import KNOWS
from phi4mm.processing.tool_calls import as_tool
from phi4mm.protocol.messages import Audio, Image, Message, Tool
from phi4mm.protocol.request import AUTO, ResponseFormat
from phi4mm.protocol.response import Reply
from phi4mm.protocol.sampling import SamplingParams

MAX_JSON_BYTES = 2**20


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `run`; with one flag for each field of SamplingParams."""
    parser.usage = "phi4mm run MODEL [PROMPT] [--image FILE ...] [--audio FILE ...] [options]"
    parser.formatter_class = functools.partial(argparse.RawDescriptionHelpFormatter, max_help_position=32)
    parser.add_argument("model", metavar="MODEL", help=argparse.SUPPRESS)
    add_arguments(parser)
    parser.add_argument("--system", metavar="TEXT", help="system message: instructions for all answers")
    parser.add_argument("--tools", metavar="FILE", help="JSON list of functions that the model may call")
    parser.add_argument("--raw", action="store_true", help="the prompt is already in the published chat format")
    parser.add_argument("--json", action="store_true", help="print one JSON object when the answer is complete")
    parser.add_argument("--device", default="auto", help=argparse.SUPPRESS)
    parser.add_argument("--dtype", default="auto", choices=DTYPES, help=argparse.SUPPRESS)
    parser.add_argument("--quantize", choices=QUANTIZATIONS, help=argparse.SUPPRESS)
    parser.add_argument("--adapter", action="append", help=argparse.SUPPRESS)
    structured = parser.add_mutually_exclusive_group()
    structured.add_argument("--schema", help=argparse.SUPPRESS)
    structured.add_argument("--regex", help=argparse.SUPPRESS)
    structured.add_argument("--choice", action="append", help=argparse.SUPPRESS)
    flags = [_add_sampling_flag(parser, field) for field in fields(SamplingParams)]
    parser.epilog = (
        "MODEL: nano (included); a folder as published, as transformers writes it, or as\n"
        "  phi4mm quantize does; or a hub id, from the cache or downloaded. Forms of it:\n"
        "  --quantize int8 or int4, --dtype auto, bfloat16, float16 or float32\n"
        "  --device auto, cpu or cuda:1, --adapter auto, none, NAME or NAME=FOLDER (PEFT)\n"
        f"without a prompt, a chat: {' '.join(COMMANDS)}\n"
        "structured output: --schema FILE, --regex TEXT or --choice TEXT (repeatable)\n"
        "sampling, with the defaults:\n" + _wrapped(flags)
    )


def run(args: argparse.Namespace) -> int:
    """Print one answer as it is generated, or chat if there is no prompt and stdin is a terminal."""
    params = _checked_options(args)
    question = read_question(args)
    text = question.text
    media: list[Image | Audio] = [*map(Image, question.images), *map(Audio, question.audios)]
    asked = args.prompt is not None or bool(args.text) or bool(text)
    interactive = not asked and sys.stdin is not None and sys.stdin.isatty()
    if not asked:
        _refuse_prompt_as_model(args.model)
    if not text and (args.raw or args.json or not (media or interactive)):
        raise argparse.ArgumentError(None, "there is no prompt; write one after the model, or pipe one in")
    tools = _tools(args.tools)
    response_format = _response_format(args)
    adapter, _, folder = (args.adapter or [AUTO])[0].partition("=")
    adapters = {adapter: folder} if folder else None
    model = phi4mm.load(args.model, device=args.device, dtype=args.dtype, quantize=args.quantize, adapters=adapters)
    ask = functools.partial(model.stream, tools=tools, params=params, response_format=response_format, adapter=adapter)
    if interactive:
        if args.model == "nano":
            print(f"{KNOWS}. Try: Hello.", file=sys.stderr)
        return chat(ask, Conversation(args.system, media), params, auto=adapter == AUTO)
    if args.raw:
        reply = model.generate(
            prompt=text, images=question.images, audios=question.audios, params=params, adapter=adapter
        )
        _print_json(reply) if args.json else print(reply.text)
        warn_if_cut(reply, params)
        return 0
    messages = [Message.system(args.system)] if args.system else []
    messages.append(Message.user(*media, text) if text else Message.user(*media))
    if args.json:
        reply = model.chat(messages, tools=tools, params=params, response_format=response_format, adapter=adapter)
        _print_json(reply)
        return 0
    stream = ask(messages)
    _, complete = write_answer(stream)
    if not complete:
        raise KeyboardInterrupt
    warn_if_cut(stream.reply, params)
    return 0


def _add_sampling_flag(parser: argparse.ArgumentParser, field: Field[Any]) -> str:
    """Add a flag that --help does not list by itself, and return its text for the compact list of sampling flags."""
    flag = "--" + field.name.replace("_", "-")
    if field.name == "stop":
        parser.add_argument(flag, action="append", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        return f"{flag} TEXT (repeatable)"
    if field.name == "logit_bias":
        parser.add_argument(flag, action="append", type=_bias, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        return f"{flag} ID=BIAS (repeatable)"
    number = float if isinstance(field.default, float) else int
    parser.add_argument(flag, type=number, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return f"{flag} {'N' if field.default is None else format(field.default, 'g')}"


def _bias(text: str) -> tuple[int, float]:
    """A token id and its bias, as in 5=-100. Raises argparse.ArgumentTypeError."""
    id, _, bias = text.partition("=")
    try:
        return int(id), float(bias)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shown(text)} is no ID=BIAS, as in 5=-100") from None


def _wrapped(flags: Sequence[str]) -> str:
    """The texts of the flags in indented lines of at most 80 columns."""
    lines = [""]
    for flag in flags:
        if len(lines[-1]) + 2 + len(flag) > 80:
            lines.append("")
        lines[-1] += f"  {flag}"
    return "\n".join(lines)


def _checked_options(args: argparse.Namespace) -> SamplingParams:
    """Check the options before a model is loaded. Raises argparse.ArgumentError: wrong use, exit code 2."""
    if args.raw and (args.system or args.tools):
        raise argparse.ArgumentError(None, "--raw takes the whole prompt as it is; leave out --system and --tools")
    if args.raw and (args.schema, args.regex, args.choice) != (None, None, None):
        raise argparse.ArgumentError(None, "--raw has no structured output; leave out --schema, --regex and --choice")
    adapters = args.adapter or [AUTO]
    if len(adapters) > 1:
        raise argparse.ArgumentError(None, f"--adapter was given {len(adapters)} times; expected it once")
    if not adapters[0] or adapters[0].startswith("=") or adapters[0].endswith("="):
        raise argparse.ArgumentError(None, f"--adapter is {adapters[0]!r}; expected a name, or NAME=FOLDER")
    given = {field.name: getattr(args, field.name) for field in fields(SamplingParams) if hasattr(args, field.name)}
    if not args.json and (given.get("n", 1) > 1 or "logprobs" in given):
        raise argparse.ArgumentError(None, "--n above 1 and --logprobs need JSON output; add --json")
    if "stop" in given:
        given["stop"] = tuple(given["stop"])
    try:
        EngineConfig(device=args.device, dtype=args.dtype)
        return SamplingParams(**given)
    except (ConfigError, InputError) as error:
        raise argparse.ArgumentError(None, str(error)) from error


def _refuse_prompt_as_model(word: str) -> None:
    """Raise ConfigError for a lone word that can only be a prompt, or a folder that is missing."""
    if word != "nano" and (" " in word or "/" not in word) and not os.path.isdir(os.path.expanduser(word)):
        raise ConfigError(
            f"model {shown_path(word)} is no folder, nor a hub id such as owner/name; if it is a prompt, type "
            f"phi4mm run nano {shlex.quote(word):.60}"
        )


def _tools(path: str | None) -> tuple[Tool, ...]:
    if path is None:
        return ()
    declared = read_json_as(Path(path), list, "a list of tools", InputError, MAX_JSON_BYTES)
    return tuple(as_tool(tool) for tool in declared)


def _response_format(args: argparse.Namespace) -> ResponseFormat | None:
    if args.schema is not None:
        schema = read_json_as(Path(args.schema), dict, "a JSON schema", InputError, MAX_JSON_BYTES)
        return ResponseFormat(schema=schema)
    if args.regex is not None:
        return ResponseFormat(regex=args.regex)
    return ResponseFormat(choice=tuple(args.choice)) if args.choice else None


def _print_json(reply: Reply) -> None:
    print(json.dumps(_record(reply), ensure_ascii=False))


def _record(reply: Reply) -> dict[str, Any]:
    """A reply as a JSON object; `logprobs` and `alternatives` only if they were requested."""
    answer: dict[str, Any] = {
        "text": reply.text,
        "finish_reason": reply.finish_reason,
        "usage": asdict(reply.usage),
        "tool_calls": [asdict(call) for call in reply.tool_calls],
    }
    if reply.logprobs:
        answer["logprobs"] = [asdict(entry) for entry in reply.logprobs]
    if reply.alternatives:
        answer["alternatives"] = [_record(other) for other in reply.alternatives]
    return answer
