"""`phi4mm bench MODEL`: how fast a model runs here, and how near that is to what the machine could do."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

from phi4mm.config.engine import DTYPES, QUANTIZATIONS, EngineConfig

Record: TypeAlias = dict[str, Any]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `bench`."""
    parser.add_argument("model", metavar="MODEL", help="`nano`, a folder or a hub id")
    parser.add_argument("--quantize", choices=QUANTIZATIONS, metavar="NAME", help="pack the weights: int8 or int4")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:1")
    parser.add_argument("--dtype", default="auto", choices=DTYPES, metavar="NAME", help=", ".join(DTYPES))
    parser.add_argument("--prompt", type=_at_least(1), default=512, metavar="N", help="tokens of text prompts (512)")
    parser.add_argument("--tokens", type=_at_least(2), default=32, metavar="N", help="tokens of each answer (32)")
    parser.add_argument("--turns", type=_at_least(1), default=3, metavar="N", help="medians are over so many (3)")
    parser.add_argument("--threads", type=_at_least(1), metavar="N", help="threads of a CPU; default: as torch has it")
    parser.add_argument(
        "--concurrent", type=_at_least(1), metavar="N", help="besides, N mixed requests at once and one at a time"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object; the table goes to stderr then")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from phi4mm.diagnostics.benchmark import measure

    record = measure(
        args.model,
        EngineConfig(args.device, args.dtype, quantize=args.quantize),
        prompt=args.prompt,
        tokens=args.tokens,
        turns=args.turns,
        concurrent=args.concurrent,
        threads=args.threads,
    )
    print(as_text(record), file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(json.dumps(record))
    return 0


def as_text(record: Record) -> str:
    """The record for a person."""
    limit = record["ceilings"]
    made = f"{record['quantize'] or record['dtype']}, {record['device']}, {record['threads']} threads"
    lines = [f"{record['model']}: {made}"]
    lines += [f"{'':<28}{'figure':>14}{'of the ceiling':>18}"]
    lines.append(_line(f"prefill of {record['prompt']}", record, "prefill"))
    for name, title in (("decode", "text"), ("decode_vision", "image"), ("decode_speech", "audio clip")):
        lines.append(_line(f"decode, {title}", record, name))
    lines.append(f"{'image of 448 px':<28}{record['image_first_token_s']:>12.2f} s  to the first token")
    lines.append(f"{'30 s of sound':<28}{record['audio_first_token_s']:>12.2f} s  to the first token")
    lines.append(f"{'load':<28}{record['load_s']:>12.2f} s  {record['ready_s']:.2f} s with a first answer")
    if record["resident_gb"] is not None:
        lines.append(f"{'resident':<28}{record['resident_gb']:>11.2f} GB")
    if "concurrent" in record:
        lines.append(
            f"{record['concurrent']} mixed requests{'':<12}{record['concurrent_tok_s']:>8.2f} tok/s at once, "
            f"{record['one_at_a_time_tok_s']:.2f} one at a time: {record['concurrent_ratio']:.2f} times"
        )
    lines.append(
        f"ceilings: stream read {limit['read_gb_s']:.1f} GB/s, matrix product {limit['product_gflop_s']:.0f} GFLOP/s"
    )
    return "\n".join(lines)


def _line(title: str, record: Record, name: str) -> str:
    return f"{title:<28}{record[f'{name}_tok_s']:>8.2f} tok/s{record[f'{name}_ceiling_fraction']:>18.2f}"


def _at_least(least: int) -> Callable[[str], int]:
    """An argument's type: a whole number of `least` or more."""

    def count(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of {least} or more")
        return int(text)

    return count
