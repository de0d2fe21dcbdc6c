"""`phi4mm bench MODEL`: measure the speed of a model on this machine, and compare it with the machine's limits."""

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
    parser.add_argument(
        "--quantize", choices=QUANTIZATIONS, metavar="NAME", help="quantize the weights while loading: int8 or int4"
    )
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:1")
    parser.add_argument("--dtype", default="auto", choices=DTYPES, metavar="NAME", help=", ".join(DTYPES))
    parser.add_argument(
        "--prompt", type=_at_least(1), default=512, metavar="N", help="tokens of each text prompt (default: 512)"
    )
    parser.add_argument(
        "--tokens", type=_at_least(2), default=32, metavar="N", help="tokens of each answer (default: 32)"
    )
    parser.add_argument(
        "--turns", type=_at_least(1), default=3, metavar="N", help="repetitions; results are medians (default: 3)"
    )
    parser.add_argument("--threads", type=_at_least(1), metavar="N", help="CPU threads (default: torch's choice)")
    parser.add_argument(
        "--concurrent", type=_at_least(1), metavar="N", help="also run N mixed requests in one batch, and one by one"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object; the table then goes to stderr")


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
    """The record as a table."""
    ceilings = record["ceilings"]
    setup = f"{record['quantize'] or record['dtype']}, {record['device']}, {record['threads']} threads"
    lines = [f"{record['model']}: {setup}"]
    lines += [f"{'':<28}{'speed':>14}{'of the ceiling':>18}"]
    lines.append(_line(f"prefill of {record['prompt']}", record, "prefill"))
    for name, title in (("decode", "text"), ("decode_vision", "image"), ("decode_speech", "audio clip")):
        lines.append(_line(f"decode, {title}", record, name))
    lines.append(f"{'image of 448 px':<28}{record['image_first_token_s']:>12.2f} s  to the first token")
    lines.append(f"{'30 s of audio':<28}{record['audio_first_token_s']:>12.2f} s  to the first token")
    lines.append(
        f"{'load':<28}{record['load_s']:>12.2f} s  {record['ready_s']:.2f} s until the end of the first answer"
    )
    if record["resident_gb"] is not None:
        lines.append(f"{'resident memory':<28}{record['resident_gb']:>11.2f} GB")
    if "concurrent" in record:
        lines.append(
            f"{record['concurrent']} mixed requests{'':<12}{record['concurrent_tok_s']:>8.2f} tok/s in one batch, "
            f"{record['one_at_a_time_tok_s']:.2f} one by one: {record['concurrent_ratio']:.2f} times as fast"
        )
    lines.append(
        f"ceilings: memory read {ceilings['read_gb_s']:.1f} GB/s, "
        f"matrix product {ceilings['product_gflop_s']:.0f} GFLOP/s"
    )
    return "\n".join(lines)


def _line(title: str, record: Record, name: str) -> str:
    return f"{title:<28}{record[f'{name}_tok_s']:>8.2f} tok/s{record[f'{name}_ceiling_fraction']:>18.2f}"


def _at_least(minimum: int) -> Callable[[str], int]:
    """An argument type for argparse: a whole number of at least `minimum`."""

    def count(text: str) -> int:
        if not text.isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {minimum}, not {text!r}")
        return int(text)

    return count
