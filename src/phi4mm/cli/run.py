"""`phi4mm run MODEL`: one answer from a prompt, from a pipe, or a chat at the terminal (chat.py)."""

from __future__ import annotations

import argparse
import functools
import json
import sys
from dataclasses import Field, asdict, fields
from pathlib import Path
from typing import Any

import phi4mm
from phi4mm.cli.chat import chat, write_answer
from phi4mm.cli.question import add_arguments, read_question
from phi4mm.config.engine import DTYPES, QUANTIZATIONS, EngineConfig
from phi4mm.config.json_file import read_json_as
from phi4mm.errors import ConfigError, InputError
from phi4mm.processing.tool_calls import as_tool
from phi4mm.protocol.messages import Audio, Image, Message, Tool
from phi4mm.protocol.request import AUTO, ResponseFormat
from phi4mm.protocol.response import Reply
from phi4mm.protocol.sampling import SamplingParams

MAX_JSON_BYTES = 2**20


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `run`; one sampling flag a field of SamplingParams."""
    parser.usage = "phi4mm run MODEL [PROMPT] [--image FILE ...] [--audio FILE ...] [options]"
    parser.formatter_class = functools.partial(argparse.RawDescriptionHelpFormatter, max_help_position=32)
    parser.add_argument("model", metavar="MODEL", help=argparse.SUPPRESS)
    add_arguments(parser)
    parser.add_argument("--system", metavar="TEXT", help="standing instructions")
    parser.add_argument("--tools", metavar="FILE", help="JSON list of functions that the model may call")
    parser.add_argument("--raw", action="store_true", help="the prompt is in the published chat format already")
    parser.add_argument("--json", action="store_true", help="print one JSON object when the answer is complete")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:1")
    parser.add_argument("--dtype", default="auto", choices=DTYPES, metavar="NAME", help=", ".join(DTYPES))
    parser.add_argument("--quantize", choices=QUANTIZATIONS, metavar="NAME", help="pack the weights: int8 or int4")
    parser.add_argument(
        "--adapter",
        action="append",
        metavar="NAME[=FOLDER]",
        help="LoRA: auto (by the media), none, a name; FOLDER is PEFT's",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--schema", help=argparse.SUPPRESS)
    form.add_argument("--regex", help=argparse.SUPPRESS)
    form.add_argument("--choice", action="append", help=argparse.SUPPRESS)
    flags = [_add_sampling_flag(parser, field) for field in fields(SamplingParams)]
    rows = ("  ".join(flags[i : i + 4]) for i in range(0, len(flags), 4))
    parser.epilog = (
        "the answer's form: --schema FILE, --regex TEXT or --choice TEXT (repeatable)\n"
        "sampling, with the defaults:\n  " + "\n  ".join(rows)
    )


def run(args: argparse.Namespace) -> int:
    """Answer once and print the answer as it grows, or chat when nobody said what to ask."""
    params = _checked_options(args)
    question = read_question(args)
    text = question.text
    media: list[Image | Audio] = [*map(Image, question.images), *map(Audio, question.audios)]
    interactive = not text and sys.stdin is not None and sys.stdin.isatty()
    if not text and (args.raw or args.json or not (media or interactive)):
        raise argparse.ArgumentError(None, "there is no prompt; write one after the model, or pipe one in")
    tools = _tools(args.tools)
    form = _response_format(args)
    adapter, _, folder = (args.adapter or [AUTO])[0].partition("=")
    adapters = {adapter: folder} if folder else None
    model = phi4mm.load(args.model, device=args.device, dtype=args.dtype, quantize=args.quantize, adapters=adapters)
    if interactive:
        return chat(model, media, system=args.system, tools=tools, params=params, response_format=form, adapter=adapter)
    if args.raw:
        reply = model.generate(
            prompt=text, images=question.images, audios=question.audios, params=params, adapter=adapter
        )
        _print_json(reply) if args.json else print(reply.text)
        return 0
    messages = [Message.system(args.system)] if args.system else []
    messages.append(Message.user(*media, text) if text else Message.user(*media))
    if args.json:
        _print_json(model.chat(messages, tools=tools, params=params, response_format=form, adapter=adapter))
        return 0
    _, complete = write_answer(
        model.stream(messages, tools=tools, params=params, response_format=form, adapter=adapter)
    )
    if not complete:
        raise KeyboardInterrupt
    return 0


def _add_sampling_flag(parser: argparse.ArgumentParser, field: Field[Any]) -> str:
    """Returns how help shows the flag: one line an option would not fit a screen."""
    flag = "--" + field.name.replace("_", "-")
    if field.name == "stop":
        parser.add_argument(flag, action="append", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        return f"{flag} TEXT (repeatable)"
    number = float if isinstance(field.default, float) else int
    parser.add_argument(flag, type=number, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return f"{flag} {'N' if field.default is None else format(field.default, 'g')}"


def _checked_options(args: argparse.Namespace) -> SamplingParams:
    """Refuse as wrong use what no model could run, before one is loaded."""
    if args.raw and (args.system or args.tools):
        raise argparse.ArgumentError(None, "--raw takes the whole prompt as it is, without --system and --tools")
    if args.raw and (args.schema, args.regex, args.choice) != (None, None, None):
        raise argparse.ArgumentError(None, "--raw answers freely, without --schema, --regex and --choice")
    said = args.adapter or [AUTO]
    if len(said) > 1:
        raise argparse.ArgumentError(None, f"--adapter was given {len(said)} times; an answer runs with one")
    if not said[0] or said[0].startswith("=") or said[0].endswith("="):
        raise argparse.ArgumentError(None, f"--adapter is {said[0]!r}; expected a name, or NAME=FOLDER")
    given = {field.name: getattr(args, field.name) for field in fields(SamplingParams) if hasattr(args, field.name)}
    if not args.json and (given.get("n", 1) > 1 or "logprobs" in given):
        raise argparse.ArgumentError(None, "--n and --logprobs show in JSON alone; add --json")
    if "stop" in given:
        given["stop"] = tuple(given["stop"])
    try:
        EngineConfig(device=args.device, dtype=args.dtype)
        return SamplingParams(**given)
    except (ConfigError, InputError) as error:
        raise argparse.ArgumentError(None, str(error)) from error


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
    """What JSON shows of a reply; log-probabilities and further answers only where they were asked for."""
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
