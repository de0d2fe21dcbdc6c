"""Memory of a long prompt with an int8 KV cache: the last chunk of a chunked prefill over an already filled cache.

Prefilling 32,768 tokens takes most of an hour on two cores, and the peak is in the last chunk, when the cache is full
and the chunk's own tensors are largest. So the pages before it are filled with noise, as if earlier chunks had written
them, and only the last chunk and one decode step are computed. The weights of towers and adapters are never read.

    python bench/long_context.py QUANTIZED_FOLDER [--tokens 32768]

One JSON line last.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from measure import GB, child, provenance

from phi4mm.checkpoint.load import load_model
from phi4mm.machine import peak_resident_bytes, resident_bytes
from phi4mm.model.batch import BatchedSequence, ForwardBatch
from phi4mm.model.kv import PagedKVCache, token_bytes

CHUNK = 1024  # as EngineArgs.max_num_batched_tokens
PAGE = 32


def measure(folder: Path, tokens: int) -> None:
    """Load, fill the cache, run the last chunk and a decode step, and print one JSON line."""
    model = load_model(folder, device="cpu", dtype=torch.bfloat16)
    loaded = resident_bytes()
    pages = -(-(tokens + 1) // PAGE)
    cache = PagedKVCache(model.config.text, pages=pages, page_size=PAGE, device=torch.device("cpu"), dtype=torch.int8)
    for layer in range(model.config.text.num_layers):
        keys, values, key_scales, value_scales = cache.layer(layer)
        assert key_scales is not None
        assert value_scales is not None
        for codes, scales in ((keys, key_scales), (values, value_scales)):
            codes.copy_(torch.randint(-127, 128, codes.shape[1:], dtype=torch.int8))
            scales.fill_(0.01)
    table = tuple(range(pages))
    past = tokens - CHUNK
    ids = torch.arange(CHUNK) * 7 + 1000
    with torch.inference_mode():
        start = time.perf_counter()
        model(
            ForwardBatch(
                ids,
                (BatchedSequence(CHUNK, past=past, long_rope=True, pages=table),),
                torch.tensor([CHUNK - 1]),
                cache=cache,
            )
        )
        chunk = time.perf_counter() - start
        start = time.perf_counter()
        model(
            ForwardBatch(
                ids[:1], (BatchedSequence(1, past=tokens, long_rope=True, pages=table),), torch.tensor([0]), cache=cache
            )
        )
        step = time.perf_counter() - start
    print(
        json.dumps(
            {
                "tokens": tokens,
                "loaded_gb": round(loaded / GB, 3),
                "keys_gb": round(token_bytes(model.config.text, torch.int8) * tokens / GB, 3),
                "peak_gb": round(peak_resident_bytes() / GB, 3),
                "last_chunk_s": round(chunk, 1),
                "decode_s": round(step, 2),
            }
        )
    )


def main() -> None:
    """Measure in a new process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokens", type=int, default=32768)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        measure(args.folder, args.tokens)
        return
    record = child(__file__, str(args.folder), "--tokens", str(args.tokens), "--child")
    print(json.dumps({"bench": "long_context", **record, **provenance()}))


if __name__ == "__main__":
    main()
