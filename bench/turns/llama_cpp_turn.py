"""One turn of llama-cpp-python on a GGUF file: text alone, greedy."""

from __future__ import annotations

import time
from itertools import islice

import llama_cpp
from turn import arguments, rates, report, resident_gb, stamps

TEXT_ONLY = "llama.cpp has no image tower, audio encoder or adapters of this model"


def main() -> None:
    """Load, warm up, measure one prompt and its answer."""
    args = arguments()
    start = time.perf_counter()
    model = llama_cpp.Llama(
        str(args.model),
        n_ctx=args.prompt + args.tokens + 64,
        n_batch=max(args.prompt, 512),
        n_ubatch=512,
        n_threads=args.threads,
        n_threads_batch=args.threads,
        verbose=False,
    )
    load = time.perf_counter() - start
    list(islice(model.generate(list(range(1000, 1032)), temp=0.0), 4))
    model.reset()
    ids = [1000 + 7 * n for n in range(args.prompt)]
    times = stamps(islice(model.generate(ids, temp=0.0), args.tokens + 1))
    record = {
        "version": f"llama-cpp-python {llama_cpp.__version__}",
        "quantize": "Q4_0",
        "threads": args.threads,
        "load_s": load,
        "resident_gb": resident_gb(),
        "decode_gb": args.model.stat().st_size / 1e9,  # the tied embedding is the head: a step reads the whole file
        **rates(times, args.prompt),
    }
    report(record, {"image_first_token_s": TEXT_ONLY, "audio_first_token_s": TEXT_ONLY})


if __name__ == "__main__":
    main()
