"""`phi4mm bench MODEL`: how fast a model runs here, and how near that is to what the machine could do."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import torch

from phi4mm.checkpoint.hub import resolve as resolve_folder
from phi4mm.checkpoint.load import load_model
from phi4mm.cli.doctor import cpu, cuda, versions
from phi4mm.config.engine import DTYPES, QUANTIZATIONS, EngineConfig
from phi4mm.diagnostics.benchmark import Ceilings, Speed, Timing, ceilings, prefill_flops, resident_gb, step_bytes
from phi4mm.inference.resolve import resolve_in

Record: TypeAlias = dict[str, Any]
FEW = 2  # tokens of a warm-up's answer


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
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    record = measure(args)
    print(as_text(record), file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(json.dumps(record))
    return 0


def measure(args: argparse.Namespace) -> Record:
    """Load, warm up every part, then time each kind of request `turns` times. Raises PhiError."""
    folder = resolve_folder(args.model)
    settings = resolve_in(folder, EngineConfig(args.device, args.dtype, quantize=args.quantize))
    start = time.perf_counter()
    model = load_model(
        folder,
        device=settings.device,
        dtype=getattr(torch, settings.dtype),
        modalities=settings.adapters,
        quantize=settings.quantize,
    )
    speed = Speed(model)
    load_s = time.perf_counter() - start
    speed.text(min(args.prompt, 32), FEW)
    ready_s = time.perf_counter() - start
    speed.image(FEW, side=28)
    speed.audio(FEW, seconds=1)
    resident = resident_gb()  # here, when every weight was touched once: a mapped one is not resident before
    before = ceilings(torch.device(settings.device))
    texts = [speed.text(args.prompt, args.tokens) for _ in range(args.turns)]
    images = [speed.image(args.tokens) for _ in range(args.turns)]
    audios = [speed.audio(args.tokens) for _ in range(args.turns)]
    limits = before.best(ceilings(torch.device(settings.device)))
    record: Record = {
        "bench": "speed",
        "model": Path(args.model).name,
        "quantize": settings.quantize,
        "dtype": settings.dtype,
        "device": settings.device,
        "threads": torch.get_num_threads(),
        "load_s": load_s,
        "ready_s": ready_s,
        "resident_gb": resident,
        "ceilings": {"read_gb_s": limits.read_gb_s, "product_gflop_s": limits.product_gflop_s},
        **prefill(texts, args.prompt, prefill_flops(model.config.text, args.prompt), limits),
        **decode(texts, step_bytes(model, None), limits, "decode"),
        "image_first_token_s": statistics.median(timing.first_s for timing in images),
        **decode(images, step_bytes(model, "vision"), limits, "decode_vision"),
        "audio_first_token_s": statistics.median(timing.first_s for timing in audios),
        **decode(audios, step_bytes(model, "speech"), limits, "decode_speech"),
    }
    if args.concurrent:
        record |= concurrent(speed, args.concurrent, args.tokens)
    shown = {"prompt": args.prompt, "tokens": args.tokens, "turns": args.turns}
    return record | shown | {"hardware": {"cpu": cpu(), "cuda": cuda()}, "versions": versions()}


def prefill(timings: list[Timing], prompt: int, flops: int, limits: Ceilings) -> Record:
    """Prompt tokens a second up to the first token, beside what a large floating-point product would allow."""
    rate = prompt / statistics.median(timing.first_s for timing in timings)
    return {
        "prefill_tok_s": rate,
        "prefill_ceiling_fraction": rate * flops / prompt / (limits.product_gflop_s * 1e9),
    }


def decode(timings: list[Timing], step: int, limits: Ceilings, name: str) -> Record:
    """Tokens a second after the first, beside what reading `step` bytes a token would allow."""
    rate = 1 / statistics.median(seconds for timing in timings for seconds in timing.steps_s)
    return {
        f"{name}_tok_s": rate,
        f"{name}_gb": step / 1e9,
        f"{name}_ceiling_fraction": rate * step / (limits.read_gb_s * 1e9),
    }


def concurrent(speed: Speed, count: int, tokens: int) -> Record:
    """`count` mixed requests at once, beside others like them one at a time."""
    found = speed.together(count, tokens)
    return {
        "concurrent": count,
        "concurrent_tok_s": found.tok_s,
        "one_at_a_time_tok_s": found.one_at_a_time_tok_s,
        "concurrent_ratio": found.tok_s / found.one_at_a_time_tok_s,
        "concurrent_decode_tok_s": found.decode_tok_s,
    }


def as_text(record: Record) -> str:
    """The record for a person."""
    limit = record["ceilings"]
    made = f"{record['quantize'] or record['dtype']}, {record['device']}, {record['threads']} threads"
    lines = [f"{record['model']}: {made}"]
    lines += [f"{'':<28}{'figure':>14}{'of the ceiling':>18}"]
    lines.append(_line(f"prefill of {record['prompt']}", record, "prefill"))
    for name, title in (("decode", "text"), ("decode_vision", "picture"), ("decode_speech", "recording")):
        lines.append(_line(f"decode, {title}", record, name))
    lines.append(f"{'picture of 448 px':<28}{record['image_first_token_s']:>12.2f} s  to the first token")
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
