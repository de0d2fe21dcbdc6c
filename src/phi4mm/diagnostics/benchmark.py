"""How fast a model runs on this machine, and which fraction of the machine's limits it reaches.

Prompts go through the same processing and engine as users' requests; a token's time is when the engine returns it. No
prompt is used twice, because the engine's caches would make the second one faster.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import PIL.Image
import torch

from phi4mm.checkpoint.hub import resolve
from phi4mm.config.engine import EngineArgs, EngineConfig
from phi4mm.diagnostics.ceilings import GB, Ceilings, ceilings, prefill_flops, step_bytes
from phi4mm.diagnostics.hardware import cpu, cuda, versions
from phi4mm.engine.core import Engine
from phi4mm.engine.messages import EngineRequest
from phi4mm.inference.load import load_weights
from phi4mm.inference.resolve import resolve_in
from phi4mm.machine import resident_bytes
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.processing.audio import audio_tokens, log_mel
from phi4mm.processing.image import ImageProcessor
from phi4mm.processing.processor import media_digest
from phi4mm.processing.resampling import WIDE
from phi4mm.protocol.inputs import AudioFrames, MediaSpan, Prompt
from phi4mm.protocol.sampling import SamplingParams

IMAGE_SIDE = 448
AUDIO_SECONDS = 30.0
QUESTION_TOKENS = 16  # text tokens after a media item
WARM_UP_TOKENS = 2  # of the answers that are not timed
Record: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Timing:
    """One answer: seconds to the first token, including media processing, and seconds of each later step."""

    first_s: float
    steps_s: tuple[float, ...]


@dataclass(frozen=True)
class Concurrency:
    """Answer tokens per second of several requests at once, and of similar requests one after the other.

    decode_tok_s  at once, after all prompts are prefilled and before any answer ends; None if answers were too short
    """

    tok_s: float
    one_at_a_time_tok_s: float
    decode_tok_s: float | None


class Speed:
    """Measures one loaded model.

    seed  of the random prompts
    """

    def __init__(self, model: Phi4MM, *, seed: int = 0) -> None:
        self._model = model
        self._config = model.config
        # No EOS, so that answers have full length. No speculation: answers to noise repeat more than real text.
        self._engine = Engine(model, eos_ids=(), engine_args=EngineArgs(num_speculative_tokens=0))
        self._rng = np.random.default_rng(seed)

    def text(self, prompt: int, tokens: int) -> Timing:
        """Answer `prompt` random tokens with `tokens` tokens, 2 or more."""
        return self._ask(lambda: self._prompt(words=prompt), tokens)

    def image(self, tokens: int, side: int = IMAGE_SIDE) -> Timing:
        """Answer a short question about a square image."""
        return self._ask(lambda: self._prompt(image_side=side), tokens)

    def audio(self, tokens: int, seconds: float = AUDIO_SECONDS) -> Timing:
        """Answer a short question about an audio clip."""
        return self._ask(lambda: self._prompt(audio_seconds=seconds), tokens)

    def concurrent(self, count: int, tokens: int) -> Concurrency:
        """Time `count` requests of text, image, audio and both in turn, `tokens` tokens each, at once and singly."""
        mixed, alone = ([self._mixed(n) for n in range(count)] for _ in range(2))
        stamps = self._run(mixed, tokens)
        one_by_one = sum(self._run([prompt], tokens)[0][-1] for prompt in alone)
        start, end = max(times[0] for times in stamps), min(times[-1] for times in stamps)
        steps = sum(start < stamp <= end for times in stamps for stamp in times)
        total = count * tokens
        return Concurrency(
            tok_s=total / max(times[-1] for times in stamps),
            one_at_a_time_tok_s=total / one_by_one,
            decode_tok_s=steps / (end - start) if end > start else None,
        )

    def _mixed(self, number: int) -> Prompt:
        makers = (
            lambda: self._prompt(words=256),
            lambda: self._prompt(image_side=IMAGE_SIDE),
            lambda: self._prompt(audio_seconds=10),
            lambda: self._prompt(image_side=IMAGE_SIDE // 2, audio_seconds=5),
        )
        return makers[number % len(makers)]()

    def _prompt(self, *, words: int = QUESTION_TOKENS, image_side: int = 0, audio_seconds: float = 0) -> Prompt:
        """A prompt of random media, then random text tokens."""
        spans: list[MediaSpan] = []
        if image_side:
            spans.append(self._image_span(image_side))
        if audio_seconds:
            spans.append(self._audio_span(audio_seconds, start=sum(span.length for span in spans)))
        length = sum(span.length for span in spans) + words
        ids = self._rng.integers(0, self._config.text.vocab_size, length)  # those at the media's positions are not used
        return Prompt(tuple(ids.tolist()), tuple(spans))

    def _image_span(self, side: int) -> MediaSpan:
        vision = self._config.vision
        processor = ImageProcessor(vision.image_size, vision.patch_size)
        noise = self._rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        tiles = processor(PIL.Image.fromarray(noise))
        return MediaSpan("image", 0, processor.plan(side, side).tokens, media_digest(tiles), tiles)

    def _audio_span(self, seconds: float, start: int) -> MediaSpan:
        noise = self._rng.normal(size=int(seconds * WIDE)).astype(np.float32) * 0.1
        frames = AudioFrames(log_mel(noise, WIDE), seconds)
        return MediaSpan("audio", start, audio_tokens(len(frames.features)), media_digest(frames), frames)

    def _ask(self, make: Callable[[], Prompt], tokens: int) -> Timing:
        start = time.perf_counter()
        prompt = make()
        processing = time.perf_counter() - start
        stamps = self._run([prompt], tokens)[0]
        return Timing(processing + stamps[0], tuple(after - before for before, after in pairwise(stamps)))

    def _run(self, prompts: Sequence[Prompt], tokens: int) -> list[list[float]]:
        """Answer prompts at once. Returns the seconds from the start to every token of each. Raises EngineError."""
        start = time.perf_counter()
        params = SamplingParams(max_tokens=tokens)
        requests = [
            self._engine.add(EngineRequest(str(n), prompt, params, prompt.adapter))[0]
            for n, prompt in enumerate(prompts)
        ]
        stamps: list[list[float]] = [[] for _ in requests]
        while self._engine.busy:
            self._engine.step()
            now = time.perf_counter() - start
            for request, times in zip(requests, stamps, strict=True):
                times += [now] * (len(request.answer) - len(times))
        for request in requests:
            if request.error is not None:
                raise request.error
        return stamps


def measure(
    model: str,
    config: EngineConfig,
    *,
    prompt: int = 512,
    tokens: int = 32,
    turns: int = 3,
    concurrent: int | None = None,
    threads: int | None = None,
) -> Record:
    """Load, warm up, then time each kind of request `turns` times. The record can be written as JSON.

    model       "nano", a folder or a hub id
    prompt      tokens of text prompts
    tokens      tokens of each answer, 2 or more
    concurrent  also time this many mixed requests, at once and one at a time
    threads     number of torch threads, set for the whole process; None leaves it unchanged
    raises      ConfigError, CheckpointError, InputError when prompt and answer exceed the context
    """
    if threads is not None:
        torch.set_num_threads(threads)
    folder = resolve(model)
    start = time.perf_counter()
    settings = resolve_in(folder, config)
    weights = load_weights(folder, settings)
    speed = Speed(weights)
    load_s = time.perf_counter() - start
    speed.text(min(prompt, 32), WARM_UP_TOKENS)
    ready_s = time.perf_counter() - start
    speed.image(WARM_UP_TOKENS, side=28)
    speed.audio(WARM_UP_TOKENS, seconds=1)
    resident = resident_bytes()  # after the warm-up, because mapped weights are resident only once they are read
    before = ceilings(torch.device(settings.device))
    texts = [speed.text(prompt, tokens) for _ in range(turns)]
    images = [speed.image(tokens) for _ in range(turns)]
    audios = [speed.audio(tokens) for _ in range(turns)]
    limits = before.best(ceilings(torch.device(settings.device)))
    record: Record = {
        "bench": "speed",
        "model": Path(model).name,
        "quantize": settings.quantize,
        "dtype": settings.dtype,
        "device": settings.device,
        "threads": torch.get_num_threads(),
        "load_s": load_s,
        "ready_s": ready_s,
        "resident_gb": None if resident is None else resident / GB,
        "ceilings": {"read_gb_s": limits.read_gb_s, "product_gflop_s": limits.product_gflop_s},
        **_prefill(texts, prompt, prefill_flops(weights.config.text, prompt), limits),
        **_decode(texts, step_bytes(weights, None), limits, "decode"),
        "image_first_token_s": statistics.median(timing.first_s for timing in images),
        **_decode(images, step_bytes(weights, "vision"), limits, "decode_vision"),
        "audio_first_token_s": statistics.median(timing.first_s for timing in audios),
        **_decode(audios, step_bytes(weights, "speech"), limits, "decode_speech"),
    }
    if concurrent:
        record |= _concurrent(speed, concurrent, tokens)
    shown = {"prompt": prompt, "tokens": tokens, "turns": turns}
    return record | shown | {"hardware": {"cpu": cpu(), "cuda": cuda()}, "versions": versions()}


def _prefill(timings: list[Timing], prompt: int, flops: int, limits: Ceilings) -> Record:
    """Prompt tokens per second up to the first token, and their fraction of what a large matrix product allows."""
    rate = prompt / statistics.median(timing.first_s for timing in timings)
    return {
        "prefill_tok_s": rate,
        "prefill_ceiling_fraction": rate * flops / prompt / (limits.product_gflop_s * GB),
    }


def _decode(timings: list[Timing], step: int, limits: Ceilings, name: str) -> Record:
    """Tokens per second after the first, and their fraction of what reading `step` bytes per token allows."""
    rate = 1 / statistics.median(seconds for timing in timings for seconds in timing.steps_s)
    return {
        f"{name}_tok_s": rate,
        f"{name}_gb": step / GB,
        f"{name}_ceiling_fraction": rate * step / (limits.read_gb_s * GB),
    }


def _concurrent(speed: Speed, count: int, tokens: int) -> Record:
    """`count` mixed requests at once, compared with similar requests one at a time."""
    result = speed.concurrent(count, tokens)
    return {
        "concurrent": count,
        "concurrent_tok_s": result.tok_s,
        "one_at_a_time_tok_s": result.one_at_a_time_tok_s,
        "concurrent_ratio": result.tok_s / result.one_at_a_time_tok_s,
        "concurrent_decode_tok_s": result.decode_tok_s,
    }
