"""One turn of ONNX Runtime GenAI on an exported int4 model: text alone, greedy."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import onnxruntime_genai as og
from turn import arguments, rates, report, resident_gb, stamps

TEXT_ONLY = "its model builder exports the text part of this model alone"


def main() -> None:
    """Load, warm up, measure one prompt and its answer."""
    args = arguments()
    start = time.perf_counter()
    config = og.Config(str(args.model))
    config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": args.threads}}}}))
    model = og.Model(config)
    load = time.perf_counter() - start
    list(answer(model, list(range(1000, 1032)), 2))
    times = stamps(answer(model, [1000 + 7 * n for n in range(args.prompt)], args.tokens + 1))
    record = {
        "version": f"onnxruntime-genai {og.__version__}",
        "quantize": "int4",
        "threads": args.threads,
        "load_s": load,
        "resident_gb": resident_gb(),
        "decode_gb": (args.model / "model.onnx.data").stat().st_size / 1e9,  # the embedding is the head
        **rates(times, args.prompt),
    }
    report(record, {"image_first_token_s": TEXT_ONLY, "audio_first_token_s": TEXT_ONLY})


def answer(model: og.Model, ids: list[int], tokens: int) -> Iterator[int]:
    """The tokens of an answer, one by one; EOS does not end it."""
    params = og.GeneratorParams(model)
    total = len(ids) + tokens
    params.set_search_options(do_sample=False, max_length=total, min_length=total)
    generator = og.Generator(model, params)
    generator.append_tokens(ids)
    for _ in range(tokens):
        generator.generate_next_token()
        yield int(generator.get_next_tokens()[0])


if __name__ == "__main__":
    main()
