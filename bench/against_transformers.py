"""Prefill of 512 tokens and decode in bf16: phi4mm and transformers' own class on the same checkpoint in one run.

The ceiling of prefill is arithmetic: the speed of a large matrix product at 6.4 GFLOP per token. The ceiling of decode
is memory bandwidth: the speed of a stream read at 7.7 GB per token, since every weight is read once. Both are measured
in the same run. The systems take turns, each in a new process (one 11 GB model at a time); medians are reported.

python bench/against_transformers.py CHECKPOINT_IN_TRANSFORMERS_LAYOUT [--turns 2]
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measure import GB, child, provenance

TOKENS = 12  # decode steps that are timed per turn, after one to warm up


def ours(folder: Path, prompt: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """A prefill by phi4mm, and one decode step after it."""
    from phi4mm.checkpoint.load import load_model
    from phi4mm.model.batch import BatchedSequence, ForwardBatch
    from phi4mm.model.kv import PagedKVCache

    model = load_model(folder, device="cpu", dtype=torch.bfloat16, modalities=())
    ids = torch.arange(prompt) * 7 + 1000
    cache = PagedKVCache(
        model.config.text, pages=1, page_size=prompt + 1 + TOKENS, device=ids.device, dtype=torch.bfloat16
    )
    past = itertools.count(prompt)

    def prefill() -> None:
        model(ForwardBatch(ids, (BatchedSequence(prompt, pages=(0,)),), torch.tensor([prompt - 1]), cache=cache))

    def decode() -> None:
        sequence = BatchedSequence(1, past=next(past), pages=(0,))
        model(ForwardBatch(ids[:1], (sequence,), torch.tensor([0]), cache=cache)).argmax(-1)

    return prefill, decode


def theirs(folder: Path, prompt: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """The same with transformers' class, its default attention (SDPA), adapters not loaded."""
    from transformers import DynamicCache, Phi4MultimodalForCausalLM

    model = Phi4MultimodalForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="sdpa").eval()
    ids = (torch.arange(prompt) * 7 + 1000)[None]
    state: dict[str, Any] = {}

    def prefill() -> None:
        state["cache"] = DynamicCache(config=model.config)
        model(input_ids=ids, past_key_values=state["cache"], use_cache=True, logits_to_keep=1)

    def decode() -> None:
        model(input_ids=ids[:, :1], past_key_values=state["cache"], use_cache=True, logits_to_keep=1).logits.argmax(-1)

    return prefill, decode


def measure(system: str, folder: Path, prompt: int) -> None:
    """One turn of one system: load, warm up, time, and print one JSON line."""
    start = time.perf_counter()
    prefill, decode = (ours if system == "phi4mm" else theirs)(folder, prompt)
    load = time.perf_counter() - start
    with torch.inference_mode():
        prefill_s = _seconds(prefill)
        decode()
        decode_s = statistics.median(_seconds(decode) for _ in range(TOKENS))
    print(json.dumps({"load_s": load, "prefill_tok_s": prompt / prefill_s, "decode_tok_s": 1 / decode_s}))


def ceilings() -> dict[str, float]:
    """The speed of a stream read and of a large float32 product on this machine, best of three."""
    block = torch.ones(1 << 28)
    read = min(_seconds(lambda: block.sum()) for _ in range(3))
    a, b = torch.randn(512, 3072), torch.randn(8192, 3072)
    product = min(_seconds(lambda: a @ b.T) for _ in range(3))
    return {"read_gb_s": block.numel() * 4 / read / GB, "product_gflop_s": 2 * 512 * 3072 * 8192 / product / GB}


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Alternate the systems; a table on stderr, one JSON line last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument(
        "--prompt", type=int, default=512, help="tokens of the prompt; a short one to time decode alone"
    )
    parser.add_argument("--child", choices=["phi4mm", "transformers"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        measure(args.child, args.checkpoint, args.prompt)
        return
    turns: dict[str, list[dict[str, float]]] = {"phi4mm": [], "transformers": []}
    limit = ceilings()
    for _ in range(args.turns):
        for system, records in turns.items():
            records.append(child(__file__, str(args.checkpoint), "--child", system, "--prompt", str(args.prompt)))
            print(system, {k: round(v, 3) for k, v in records[-1].items()}, file=sys.stderr)
    medians = {s: {k: statistics.median(r[k] for r in records) for k in records[0]} for s, records in turns.items()}
    ratios = {k: medians["phi4mm"][k] / medians["transformers"][k] for k in ("prefill_tok_s", "decode_tok_s")}
    print(
        json.dumps(
            {
                "bench": "against_transformers",
                "prompt": args.prompt,
                "turns": turns,
                "medians": medians,
                "ratios": ratios,
                "ceilings": limit,
                **provenance(),
            }
        )
    )


if __name__ == "__main__":
    main()
