"""Prompts with synthetic media, and two ways to run them, for all tests.

S tokens of one sequence, V vocabulary.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import PIL.Image
import torch

from phi4mm.diagnostics.verify import ASSISTANT, END, PLACEHOLDER, USER, audio, image, text_ids
from phi4mm.engine.core import Engine
from phi4mm.engine.encoders import encode_media
from phi4mm.engine.messages import EngineRequest
from phi4mm.engine.request import Request
from phi4mm.model.batch import BatchedSequence, ForwardBatch
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.processing.audio import audio_tokens, log_mel
from phi4mm.processing.image import ImageProcessor
from phi4mm.processing.pixels import to_tiles
from phi4mm.processing.processor import media_digest
from phi4mm.processing.resampling import WIDE
from phi4mm.protocol.inputs import AudioFrames, ImageCrops, ImageTiles, MediaData, MediaSpan, Prompt
from phi4mm.protocol.request import AUTO
from phi4mm.protocol.sampling import GREEDY, SamplingParams


def make_image(width: int, height: int) -> ImageCrops:
    return ImageProcessor(448, 14, 36)(PIL.Image.fromarray(image(width, height)))


def clip(samples: int) -> AudioFrames:
    return AudioFrames(log_mel(audio(samples, WIDE), WIDE), samples / WIDE)


def make_prompt(name: str, media: Sequence[MediaData], words: int) -> Prompt:
    """A chat turn with media first."""
    ids, spans = [USER], []
    for item in media:
        if isinstance(item, (ImageCrops, ImageTiles)):
            kind, length = "image", _image_tokens(to_tiles(item))
            spans.append(MediaSpan("image", len(ids), length, media_digest(item), item))
        else:
            kind, length = "audio", audio_tokens(len(item.features))
            spans.append(MediaSpan("audio", len(ids), length, media_digest(item), item))
        ids += [PLACEHOLDER[kind]] * length
    return Prompt((*ids, *text_ids(name, words).tolist(), END, ASSISTANT), tuple(spans))


def _image_tokens(tiles: ImageTiles) -> int:
    rows, columns = tiles.grid
    valid = tiles.mask[1:, ::2, ::2].reshape(rows, columns, 16, 16)
    high, wide = valid[:, 0, :, 0].sum(), valid[0, :, 0, :].sum()
    return int(256 + 16 + 1 + high * wide + high)


_numbers = itertools.count()


def add(
    engine: Engine,
    prompt: Prompt,
    params: SamplingParams = GREEDY,
    *,
    adapter: str | None = AUTO,
    grammar: str | None = None,
) -> Request:
    """Queue a request, by default with the adapter of the published rule. Returns the engine's state of its answer."""
    name = prompt.adapter if adapter == AUTO else adapter
    return engine.add(EngineRequest(f"t{next(_numbers)}", prompt, params, name, grammar))[0]


def run(model: Phi4MM, prompts: Sequence[Prompt], params: SamplingParams) -> list[list[int]]:
    """The answers of prompts that run in one batch."""
    engine = Engine(model, eos_ids=())
    requests = [add(engine, prompt, params) for prompt in prompts]
    while engine.busy:
        engine.step()
    return [request.answer for request in requests]


def full_logits(model: Phi4MM, prompt: Prompt, answer: Sequence[int] = (), *, last: int = 0) -> torch.Tensor:
    """(S, V) logits of prompt and answer in one uncached pass, or of the `last` tokens alone."""
    with torch.inference_mode():
        ids = torch.tensor([*prompt.ids, *answer])
        positions = [i for span in prompt.spans for i in range(span.start, span.start + span.length)]
        media = encode_media(model, prompt, torch.device("cpu"))
        long = len(ids) > model.config.text.rope.original_max_positions
        index = torch.tensor(positions) if positions else None
        sequence = BatchedSequence(len(ids), adapter=prompt.adapter, long_rope=long)
        logits: torch.Tensor = model(ForwardBatch(ids, (sequence,), torch.arange(len(ids))[-last:], media, index))
    return logits
