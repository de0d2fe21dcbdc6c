"""phi4mm through its public API: loads once, then answers a prompt and prints a JSON line for each line on stdin.

Uses the phi4mm that its interpreter imports, so that two versions can be compared turn by turn.
"""

from __future__ import annotations

import random
import string
import sys
import time

from turn import arguments, rates, report, resident_gb

import phi4mm


def main() -> None:
    """Load, warm up, then time one answer per line; each letter is one token of the stand-in vocabulary."""
    args = arguments()
    start = time.perf_counter()
    model = phi4mm.load(
        args.model, device="cpu", engine_args=phi4mm.EngineArgs(num_speculative_tokens=0, enable_prefix_caching=False)
    )
    load_s = time.perf_counter() - start
    model.chat("warm", params=phi4mm.SamplingParams(max_tokens=2))
    ready_s = time.perf_counter() - start
    params = phi4mm.SamplingParams(max_tokens=args.tokens)
    reasons = dict.fromkeys(("decode_gb", "image_first_token_s", "audio_first_token_s"), "not measured here")
    # Random weights repeat the last token, so it must be a letter: a special token would give no text.
    words = "".join(random.Random(args.prompt).choices(string.ascii_lowercase, k=args.prompt))
    for _ in sys.stdin:
        prompt = model.processor.prompt(words)
        start = time.perf_counter()
        times = [time.perf_counter() - start for _ in model.submit(prompt, params)]
        assert len(times) > args.tokens // 2, f"{len(times)} pieces of text for {args.tokens} tokens"
        shown = {"load_s": load_s, "ready_s": ready_s, "resident_gb": resident_gb(), "pieces": len(times)}
        report(shown | rates(times, args.prompt), reasons)


if __name__ == "__main__":
    main()
