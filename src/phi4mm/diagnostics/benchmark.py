"""How fast a model runs here, and how near that is to what the machine could do.

Prompts go through the processing and the engine that answer people; a token counts when the engine hands it out.
Decoding is bound by reading weights and prefill by multiplying, so both ceilings are measured too: a stream read and a
large matrix product. No prompt is used twice, or the engine's caches would answer for the model.

S prompt tokens, D width, H query heads, K key/value heads, E head width, V vocabulary, L layers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import PIL.Image
import torch

from phi4mm.config.engine import Limits
from phi4mm.config.model import TextConfig
from phi4mm.engine.core import Engine
from phi4mm.engine.messages import EngineRequest
from phi4mm.kernels.cpu import library as native
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.processing.audio import WIDE, audio_tokens, log_mel
from phi4mm.processing.image import ImageProcessor
from phi4mm.processing.processor import media_digest
from phi4mm.protocol.inputs import Adapter, AudioFrames, MediaSpan, Prompt
from phi4mm.protocol.sampling import SamplingParams

READ_BYTES = 2**30  # far more than any cache holds
PRODUCT = (512, 3072, 8192)  # rows, inputs, outputs
BEST_OF = 3
IMAGE_SIDE = 448
AUDIO_SECONDS = 30.0
QUESTION = 16  # tokens of words beside a medium
GB = 1e9


@dataclass(frozen=True)
class Ceilings:
    """What this machine reaches with all its threads.

    The product is in floating point; integer products of packed weights may pass it, with a fraction above 1.
    """

    read_gb_s: float
    product_gflop_s: float

    def best(self, other: Ceilings) -> Ceilings:
        """Of two measurements the larger of each: a neighbour's load only ever lowers one."""
        return Ceilings(max(self.read_gb_s, other.read_gb_s), max(self.product_gflop_s, other.product_gflop_s))


@dataclass(frozen=True)
class Timing:
    """One answer: seconds to its first token, media processing included, and of each later step."""

    first_s: float
    steps_s: tuple[float, ...]


@dataclass(frozen=True)
class Together:
    """Several requests at once, and others like them one after the other; answer tokens a second.

    decode_tok_s  at once, while every prompt is in and every answer runs; None where answers were too short for that
    """

    tok_s: float
    one_at_a_time_tok_s: float
    decode_tok_s: float | None


class Speed:
    """Measures one loaded model; `seed` begins the random prompts."""

    def __init__(self, model: Phi4MM, *, seed: int = 0) -> None:
        self._model = model
        self._config = model.config
        # An answer must not end before it is measured, nor be guessed: noise repeats itself more than text does.
        self._engine = Engine(model, eos_ids=(), limits=Limits(draft_tokens=0))
        self._rng = np.random.default_rng(seed)

    def text(self, prompt: int, tokens: int) -> Timing:
        """Answer `prompt` random tokens with `tokens` tokens, 2 or more."""
        return self._ask(lambda: self._prompt(words=prompt), tokens)

    def image(self, tokens: int, side: int = IMAGE_SIDE) -> Timing:
        """Answer a short question about a square picture."""
        return self._ask(lambda: self._prompt(image_side=side), tokens)

    def audio(self, tokens: int, seconds: float = AUDIO_SECONDS) -> Timing:
        """Answer a short question about a recording."""
        return self._ask(lambda: self._prompt(audio_seconds=seconds), tokens)

    def together(self, count: int, tokens: int) -> Together:
        """`count` requests of text, picture, recording and both in turn, with `tokens` tokens each, two ways."""
        mixed, alone = ([self._mixed(n) for n in range(count)] for _ in range(2))
        stamps = self._run(mixed, tokens)
        one_by_one = sum(self._run([prompt], tokens)[0][-1] for prompt in alone)
        begun, ended = max(row[0] for row in stamps), min(row[-1] for row in stamps)
        steps = sum(begun < stamp <= ended for row in stamps for stamp in row)
        total = count * tokens
        return Together(
            tok_s=total / max(row[-1] for row in stamps),
            one_at_a_time_tok_s=total / one_by_one,
            decode_tok_s=steps / (ended - begun) if ended > begun else None,
        )

    def _mixed(self, number: int) -> Prompt:
        makers = (
            lambda: self._prompt(words=256),
            lambda: self._prompt(image_side=IMAGE_SIDE),
            lambda: self._prompt(audio_seconds=10),
            lambda: self._prompt(image_side=IMAGE_SIDE // 2, audio_seconds=5),
        )
        return makers[number % len(makers)]()

    def _prompt(self, *, words: int = QUESTION, image_side: int = 0, audio_seconds: float = 0) -> Prompt:
        """Media first, then words, all of them noise."""
        spans: list[MediaSpan] = []
        if image_side:
            spans.append(self._picture(image_side))
        if audio_seconds:
            spans.append(self._recording(audio_seconds, start=sum(span.length for span in spans)))
        length = sum(span.length for span in spans) + words
        ids = self._rng.integers(0, self._config.text.vocab_size, length)  # ids under media are not read
        return Prompt(tuple(ids.tolist()), tuple(spans))

    def _picture(self, side: int) -> MediaSpan:
        vision = self._config.vision
        processor = ImageProcessor(vision.image_size, vision.patch_size)
        noise = self._rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        tiles = processor(PIL.Image.fromarray(noise))
        return MediaSpan("image", 0, processor.plan(side, side).tokens, media_digest(tiles), tiles)

    def _recording(self, seconds: float, start: int) -> MediaSpan:
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
        """Answer prompts side by side; for each the seconds from now to every token. Raises EngineError."""
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
            for request, row in zip(requests, stamps, strict=True):
                row += [now] * (len(request.answer) - len(row))
        for request in requests:
            if request.error is not None:
                raise request.error
        return stamps


def step_bytes(model: Phi4MM, adapter: Adapter | None) -> int:
    """Bytes of weights that one decoding step reads: the decoder with its tied head, and the row's adapter.

    Keys and values come on top: 0.13 MB a cached token as published.
    """
    tensors = model.text.state_dict()
    return sum(
        tensor.numel() * tensor.element_size()
        for name, tensor in tensors.items()
        if not {"lora_a", "lora_b"} & set(name.split(".")) or (adapter is not None and adapter in name.split("."))
    )


def prefill_flops(config: TextConfig, tokens: int) -> int:
    """Floating-point operations of a text prompt's prefill: products, causal attention, and one position's head."""
    width, head = config.hidden_size, config.head_dim
    attended = (config.num_heads + 2 * config.num_kv_heads) * head + config.num_heads * head
    layer = width * attended + 3 * width * config.intermediate_size
    attention = config.num_heads * head * tokens * (tokens + 1)  # half of two S x S products a head
    return 2 * (config.num_layers * (tokens * layer + attention) + width * config.vocab_size)


def ceilings(device: torch.device) -> Ceilings:
    """A stream read of 1 GiB, and a float32 or a bfloat16 product, whichever is faster here."""
    block = torch.ones(READ_BYTES // 4, device=device)
    rows, inputs, outputs = PRODUCT
    products = []
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.ones(n, inputs, device=device, dtype=dtype) for n in (rows, outputs))
        products.append(_best(partial(torch.matmul, a, b.T), device))
    return Ceilings(READ_BYTES / _best(block.sum, device) / GB, 2 * rows * inputs * outputs / min(products) / GB)


def resident_gb() -> float | None:
    """Resident memory of this process; None where the system does not tell (only Linux does)."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    return int(status.read_text().partition("VmRSS:")[2].split()[0]) * 1024 / GB


def _best(work: Callable[[], torch.Tensor], device: torch.device) -> float:
    """Seconds of the fastest of BEST_OF runs: a ceiling is what the machine reaches, not what it reaches on average."""
    found = []
    for _ in range(BEST_OF):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - start)
    return min(found)


def kernels_here() -> str:
    """Whether the kernels in C run on this machine: and if not, why not."""
    found = native.status()
    return found.reason if found.library is not None else f"slow, through torch: {found.reason}"
