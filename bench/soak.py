"""Sends thousands of random requests to one engine with very little memory, to find leaks, hangs and lost requests.

A tiny float32 model with synthetic weights answers text, images, audio clips and both, of random lengths and
parameters. Prompts repeat and share prefixes, some requests are aborted, and the KV cache holds only a few sequences,
so that sequences are preempted and caches evicted all the time. Every 50 steps, and at the end, the counts of pages
must add up. At the end no page or encoder output may be held, every request must have a result or an error, and memory
may have grown by at most MAX_GROWTH in the second half.

    python bench/soak.py [--requests 2000] [--seed 0] [--kv-cache-dtype int8]

A table on stderr, one JSON line last; exit status 1 if something is wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from measure import provenance

from phi4mm.checkpoint.load import load_model
from phi4mm.checkpoint.synthetic import write_synthetic
from phi4mm.config.engine import KV_CACHE_DTYPES, EngineArgs
from phi4mm.engine.core import Engine
from phi4mm.engine.messages import EngineRequest
from phi4mm.engine.request import Request, State
from phi4mm.errors import CapacityError, InputError
from phi4mm.machine import resident_bytes
from phi4mm.processing.audio import audio_tokens
from phi4mm.processing.image import ImageProcessor
from phi4mm.processing.processor import media_digest
from phi4mm.protocol.inputs import AudioFrames, MediaSpan, Prompt
from phi4mm.protocol.sampling import SamplingParams

MB = 1e6
TINY = Path(__file__).parent.parent / "tests" / "golden" / "tiny_rope96.json"
VOCABULARY = 2000
CROP = 56  # pixels; small, because the tower is not tested here
CONTEXT = 400
EOS = tuple(range(20, 60))
BYTES = {"auto": 330_000, "int8": 180_000}  # about 50 pages; one sequence may need 48
ENGINE_ARGS = EngineArgs(max_num_seqs=8, max_num_batched_tokens=48, max_waiting=12, page_size=8)
MAX_GROWTH = 64 * MB  # of resident memory in the second half, which malloc may keep


@dataclass
class RequestMaker:
    """Makes random prompts and parameters from one seed, with media from a small set, so that they repeat."""

    random: random.Random
    media: list[MediaSpan] = field(default_factory=list)
    past: list[Prompt] = field(default_factory=list)

    def __post_init__(self) -> None:
        noise = np.random.default_rng(0)
        processor = ImageProcessor(CROP, 14, 4)
        for width, height in ((56, 56), (90, 40), (30, 120)):
            pixels = noise.integers(0, 255, (height, width, 3), dtype=np.uint8)
            tiles = processor(PIL.Image.fromarray(pixels))
            tokens = processor.plan(width, height).tokens
            self.media.append(MediaSpan("image", 0, tokens, media_digest(tiles), tiles))
        for frames in (40, 160, 400):
            clip = AudioFrames(noise.normal(size=(frames, 80)).astype(np.float32), frames / 100)
            self.media.append(MediaSpan("audio", 0, audio_tokens(frames), media_digest(clip), clip))

    def prompt(self) -> Prompt:
        """A new prompt, an earlier one, or a continuation of an earlier one."""
        if self.past and self.random.random() < 0.4:
            old = self.random.choice(self.past)
            return old if self.random.random() < 0.5 else Prompt((*old.ids, *self.words(20)), old.spans)
        ids, spans = self.words(3), []
        for kind in self.random.choice([(), (), ("image",), ("audio",), ("image", "audio"), ("audio", "audio")]):
            span = self.random.choice([item for item in self.media if item.kind == kind])
            spans.append(replace(span, start=len(ids)))
            ids += [1] * span.length + self.words(4)
        prompt = Prompt((*ids, *self.words(self.random.choice([5, 30, 130]))), tuple(spans))
        self.past = [*self.past[-30:], prompt]
        return prompt

    def words(self, max_tokens: int) -> list[int]:
        """1 to `max_tokens` token ids."""
        return [self.random.randrange(2, VOCABULARY) for _ in range(self.random.randint(1, max_tokens))]

    def params(self) -> SamplingParams:
        """Greedy half of the time, else random parameters."""
        pick = self.random
        tokens = pick.choice([1, 10, 40, 120])
        if pick.random() < 0.5:
            return SamplingParams(max_tokens=tokens)
        return SamplingParams(
            temperature=pick.choice([0.0, 0.7, 2.0]),
            top_k=pick.choice([0, 5]),
            top_p=pick.choice([1.0, 0.9]),
            repetition_penalty=pick.choice([1.0, 1.2]),
            frequency_penalty=pick.choice([0.0, 0.5]),
            seed=pick.choice([None, 1]),
            max_tokens=tokens,
            logprobs=pick.choice([None, 0, 3]),
        )


@dataclass
class Soak:
    """One run, its counts, and the problems found."""

    engine: Engine
    maker: RequestMaker
    problems: list[str] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)
    added: int = 0
    steps: int = 0
    turned_away: int = 0
    tokens: int = 0

    def run(self, requests: int) -> list[int]:
        """Add, step and abort at random until all requests have ended. Returns resident bytes after each hundredth."""
        running: list[Request] = []
        added, resident = 0, []
        while added < requests or self.engine.busy:
            while added < requests and self.maker.random.random() < 0.2:
                added += 1
                if added % max(requests // 100, 1) == 0:
                    resident.append(resident_bytes())
                self.add(running)
            if running and self.maker.random.random() < 0.01:
                self.engine.abort(self.maker.random.choice(running).request_id)
            self.step()
            for request in [request for request in running if request.state is State.FINISHED]:
                running.remove(request)
                self.ended[str(request.finish_reason)] += 1
                if (request.finish_reason == "error") != (request.error is not None):
                    self.problems.append(f"{request.id} ended by {request.finish_reason} with error {request.error}")
        self.check_pages()
        held = self.engine.pool.held, self.engine.media.held
        if held != (0, 0) or running or sum(self.ended.values()) != requests:
            self.problems.append(
                f"at the end {held} pages and encoder outputs are held, {self.ended} of {requests} ended"
            )
        return resident

    def add(self, running: list[Request]) -> None:
        """Add one request; while the queue is full, step the engine and try again."""
        prompt, params = self.maker.prompt(), self.maker.params()
        self.added += 1
        request = EngineRequest(f"r{self.added}", prompt, params, prompt.adapter)
        while True:
            try:
                running += self.engine.add(request)
                return
            except CapacityError:
                self.turned_away += 1
                self.step()
            except InputError:
                self.ended["refused"] += 1
                return

    def step(self) -> None:
        """One step of the engine."""
        self.tokens += sum(len(output.ids) for output in self.engine.step())
        self.steps += 1
        if self.steps % 50 == 0:
            self.check_pages()

    def check_pages(self) -> None:
        """Check that free + held + cached = total pages, and that encoder outputs fit their capacity."""
        pool, media = self.engine.pool, self.engine.media
        if pool.free + pool.held + pool.cached != pool.total or not media.held <= media.used <= media.capacity:
            self.problems.append(
                f"step {self.steps}: {pool.free} free + {pool.held} held + {pool.cached} cached pages of {pool.total},"
                f" {media.held} held of {media.used} used of {media.capacity} encoder outputs"
            )


def tiny_engine(engine_args: EngineArgs) -> Engine:
    """An engine with a model of two layers that uses the long factors of LongRoPE beyond 96 tokens."""
    config: dict[str, Any] = json.loads(TINY.read_text())
    config |= {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    config |= {"max_position_embeddings": CONTEXT}
    config["vision_config"]["image_size"] = config["embd_layer"]["image_embd_layer"]["crop_size"] = CROP
    with tempfile.TemporaryDirectory() as folder:
        write_synthetic(config, Path(folder))
        model = load_model(Path(folder), device="cpu", dtype=torch.float32)
    return Engine(model, EOS, engine_args)


def soak(requests: int, seed: int, kv_cache_dtype: str) -> dict[str, Any]:
    """Run it and return the record; its `wrong` lists the problems found."""
    engine_args = replace(ENGINE_ARGS, kv_cache_dtype=kv_cache_dtype, kv_cache_bytes=BYTES[kv_cache_dtype])
    run = Soak(tiny_engine(engine_args), RequestMaker(random.Random(seed)))
    start = time.perf_counter()
    resident = run.run(requests)
    growth = resident[-1] - resident[len(resident) // 2] if resident else 0
    if growth > MAX_GROWTH:
        run.problems.append(f"resident memory grew by {growth / MB:.0f} MB over the second half")
    return {
        "requests": requests,
        "seed": seed,
        "kv_cache_dtype": kv_cache_dtype,
        "ended": dict(run.ended),
        "steps": run.steps,
        "tokens": run.tokens,
        "preemptions": run.engine.stats().preemptions_total,
        "turned_away": run.turned_away,
        "pages": run.engine.pool.total,
        "growth_mb": round(growth / MB, 1),
        "resident_mb": round(resident[-1] / MB) if resident else None,
        "seconds": round(time.perf_counter() - start, 1),
        "wrong": run.problems,
    }


def main() -> int:
    """Parse arguments, run, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kv-cache-dtype", choices=KV_CACHE_DTYPES, default="auto")
    args = parser.parse_args()
    torch.set_num_threads(1)
    record = soak(args.requests, args.seed, args.kv_cache_dtype)
    for name, value in record.items():
        print(f"{name:12} {value}", file=sys.stderr)
    print(json.dumps(record | {"provenance": provenance()}))
    return 1 if record["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
