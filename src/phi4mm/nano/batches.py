"""Where batches of nano's stages are made: a run's tokenizer, its speech, and the shares of the tasks."""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from phi4mm.metrics.words import normalise
from phi4mm.nano.collate import Clips, Pictures, TrainBatch, collate, join_pictures, pad_clips
from phi4mm.nano.data import make_row, word_ids
from phi4mm.nano.speech_bank import RATE, SpeechBank
from phi4mm.nano.synth import augment, questions, world
from phi4mm.processing.audio import audio_tokens, log_mel
from phi4mm.processing.image import ImageProcessor, open_image
from phi4mm.processing.pixels import to_tiles
from phi4mm.processing.processor import Processor
from phi4mm.processing.tokenizer import Tokenizer
from phi4mm.protocol.inputs import F32, ImageTiles
from phi4mm.protocol.messages import Image

IMAGES = ImageProcessor(crop_size=224, patch_size=28, max_crops=12)
CONTEXT = 4096  # tokens; no training example comes near it
NAMES = {word: number for number, word in enumerate(questions.NAMES)}  # of what is shown
POOL = 8  # batches that are sorted by length together, so that little is padded
# How often each task is drawn when everything learns together.
SHARES: dict[world.Task, int] = {
    "scene": 18, "pair": 4, "sign": 12, "transcribe": 24, "spoken_scene": 18, "spoken_chat": 3, "tool_call": 13,
    "no_tool": 3, "chat": 3, "repeat": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Workshop:
    """What makes batches of a run. `words` numbers what is spoken, from 1."""

    processor: Processor
    bank: SpeechBank
    words: dict[str, int]


@functools.cache
def open_workshop(folder: Path) -> Workshop:
    """The workshop of a run's folder, opened once a process."""
    bank = SpeechBank(folder / "speech")
    vocabulary = sorted({word for text in set(bank.texts) for word in normalise(text).split()})
    return Workshop(
        Processor(Tokenizer(folder / "tokenizer.json"), IMAGES, CONTEXT),
        bank,
        words={word: number for number, word in enumerate(vocabulary, start=1)},
    )


def make_clips(folder: Path, seed: int, size: int, step: int) -> Clips:
    """Batch `step` of the hearing stage: `size` recordings of about one length, with fresh noise."""
    shop = open_workshop(folder)
    pool = random.Random(f"pool {seed} {step // POOL}").sample(range(len(shop.bank.texts)), POOL * size)
    pool.sort(key=shop.bank.samples)
    rng = np.random.default_rng([seed, step])
    numbers = pool[step % POOL * size :][:size]
    heard = [_hear(shop, number, rng) for number in numbers]
    clips = pad_clips([features for features, _ in heard], [_spoken(shop, number) for number in numbers])
    uttered = torch.full((size, audio_tokens(clips.features.shape[1])), -1)
    for line, (_, words) in zip(uttered, heard, strict=True):
        line[: len(words)] = torch.from_numpy(words)
    return replace(clips, uttered=uttered)


def _hear(shop: Workshop, number: int, rng: np.random.Generator) -> tuple[F32, npt.NDArray[np.int64]]:
    """Log-mel of a recording made fresh, and the word in the middle of each encoder token, 0 for none."""
    factor = float(rng.uniform(*augment.STRETCH))
    clean = augment.stretch(shop.bank.clean(number), factor)
    before, after = rng.uniform(*augment.SILENCE, 2)
    padded = augment.pad_silence(clean, RATE, before, after)
    features = log_mel(augment.degrade(padded, RATE, rng), RATE)
    loud = np.flatnonzero(np.abs(clean) > 0.02 * np.abs(clean).max())
    onsets = np.array(shop.bank.onsets[number]) * factor
    limits = np.append(onsets, loud[-1] / RATE if len(loud) else 0.0) + before
    middles = (np.arange(audio_tokens(len(features))) * 8 + 1) / 100  # token t sees frames 8t - 7 to 8t + 7
    words = np.array([0, *_spoken(shop, number), 0])
    return features, words[np.searchsorted(limits, middles, side="right")]


def _spoken(shop: Workshop, number: int) -> tuple[int, ...]:
    return word_ids(shop.bank.texts[number], shop.words)


def make_pictures(seed: int, size: int, step: int) -> Pictures:
    """Batch `step` of the looking stage: `size` pictures that fit one crop, without their global view."""
    rng = random.Random(f"pictures {seed} {step}")
    tiles: list[ImageTiles] = []
    shown = []
    while len(tiles) < size:
        example = world.example("train", rng.getrandbits(48), rng.choice(("scene", "pair", "sign")))
        image = next(part for part in example.messages[-1].parts if isinstance(part, Image))
        made = IMAGES(open_image(image))
        if made.grid == (1, 1):
            whole = to_tiles(made)
            tiles.append(ImageTiles(whole.pixels[1:], whole.mask[1:], whole.grid))
            shown.append(word_ids(example.shown, NAMES))
    return join_pictures(tiles, shown)


def make_batch(folder: Path, shares: dict[world.Task, int], seed: int, size: int, step: int) -> TrainBatch:
    """Batch `step` of a stage that answers: `size` examples of tasks drawn by their shares."""
    shop = open_workshop(folder)
    rng = random.Random(f"joint {seed} {step}")
    tasks = rng.choices(list(shares), list(shares.values()), k=size)
    examples = [world.example("train", rng.getrandbits(48), task, shop.bank.record) for task in tasks]
    rows = [make_row(example, shop.processor, shop.words, NAMES) for example in examples]
    # Rows of one adapter side by side: their share of a batch is then a slice.
    return collate(sorted(rows, key=lambda row: str(row.prompt.adapter)))
