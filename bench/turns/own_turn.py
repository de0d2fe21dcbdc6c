"""One turn of phi4mm itself through its public surface: load, a prompt, an answer piece by piece.

Runs whatever phi4mm its interpreter finds, so that two versions can be compared; prints one JSON line.
"""

from __future__ import annotations

import time

from turn import arguments, rates, report, resident_gb

import phi4mm


def main() -> None:
    """Load, warm up, then time one answer; a letter is a token of the stand-in vocabulary."""
    args = arguments()
    start = time.perf_counter()
    model = phi4mm.load(args.model, device="cpu", limits=phi4mm.Limits(draft_tokens=0, prefix_cache=False))
    load_s = time.perf_counter() - start
    model.chat("warm", params=phi4mm.SamplingParams(max_tokens=2))
    ready_s = time.perf_counter() - start
    params = phi4mm.SamplingParams(max_tokens=args.tokens)
    begun = time.perf_counter()
    times = [time.perf_counter() - begun for _ in model.stream("a" * args.prompt, params=params)]
    reasons = dict.fromkeys(("decode_gb", "image_first_token_s", "audio_first_token_s"), "not measured here")
    shown = {"load_s": load_s, "ready_s": ready_s, "resident_gb": resident_gb(), "pieces": len(times)}
    report(shown | rates(times, args.prompt), reasons)


if __name__ == "__main__":
    main()
