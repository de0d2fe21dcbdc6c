"""Makes the batches of nano's training stages from a run's tokenizer and speech bank."""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from phi4mm.metrics.words import normalise
from phi4mm.model.media import batch_audio, batch_images
from phi4mm.nano.data import AudioExamples, JointExamples, NanoExample, VisionExamples, make_example, word_ids
from phi4mm.nano.speech_bank import SpeechBank
from phi4mm.nano.synth import augment, questions, world
from phi4mm.nano.synth.augment import RATE
from phi4mm.processing.audio import audio_tokens, log_mel
from phi4mm.processing.image import ImageProcessor, open_image
from phi4mm.processing.pixels import to_tiles
from phi4mm.processing.processor import Processor
from phi4mm.processing.tokenizer import Tokenizer
from phi4mm.protocol.inputs import AudioFrames, ImageTiles
from phi4mm.protocol.messages import Image
from phi4mm.training.collate import collate
from phi4mm.training.losses import NO_LABEL

IMAGES = ImageProcessor(crop_size=224, patch_size=28, max_crops=12)
CONTEXT = 4096  # tokens, also RoPE's original_max_positions; training examples are far shorter
NAMES = {word: number for number, word in enumerate(questions.NAMES)}  # word ids of what an image shows
POOL = 8  # batches whose clips are sorted by length together, to reduce padding
# The weight with which the joint stage draws each task.
SHARES: dict[world.Task, int] = {
    "scene": 18, "pair": 4, "sign": 12, "transcribe": 24, "spoken_scene": 18, "spoken_chat": 3, "tool_call": 13,
    "no_tool": 3, "chat": 3, "repeat": 2,
}  # fmt: skip


@dataclass(frozen=True)
class BatchMaker:
    """Makes the batches of a run.

    words  ids of the spoken words, from 1
    """

    processor: Processor
    bank: SpeechBank
    words: Mapping[str, int]

    def audio(self, seed: int, size: int, step: int) -> AudioExamples:
        """Batch `step` of the audio stage: `size` clips of similar length, with new noise."""
        pool = random.Random(f"pool {seed} {step // POOL}").sample(range(len(self.bank.texts)), POOL * size)
        pool.sort(key=self.bank.samples)
        rng = np.random.default_rng([seed, step])
        numbers = pool[step % POOL * size :][:size]
        augmented = [self._augmented(number, rng) for number in numbers]
        clips = batch_audio([frames for frames, _ in augmented])
        frame_words = torch.full((size, int(clips.tokens.max())), NO_LABEL)
        for row, (_, words) in zip(frame_words, augmented, strict=True):
            row[: len(words)] = torch.from_numpy(words)
        return AudioExamples(clips, tuple(self._spoken(number) for number in numbers), frame_words)

    def vision(self, seed: int, size: int, step: int) -> VisionExamples:
        """Batch `step` of the vision stage: `size` images that fit one crop, without their global view."""
        rng = random.Random(f"pictures {seed} {step}")
        tiles: list[ImageTiles] = []
        shown = []
        while len(tiles) < size:
            example = world.example("train", rng.getrandbits(48), rng.choice(("scene", "pair", "sign")))
            image = next(part for part in example.messages[-1].parts if isinstance(part, Image))
            crops = IMAGES(open_image(image))
            if crops.grid == (1, 1):
                both = to_tiles(crops)  # the global view, then the crop
                tiles.append(ImageTiles(both.pixels[1:], both.mask[1:], both.grid))
                shown.append(word_ids(example.shown, NAMES))
        return VisionExamples(batch_images(tiles), tuple(shown))

    def joint(self, seed: int, size: int, step: int, shares: Mapping[world.Task, int] = SHARES) -> JointExamples:
        """Batch `step` of the joint stage: `size` examples of tasks drawn with the weights `shares`."""
        rng = random.Random(f"joint {seed} {step}")
        tasks = rng.choices(list(shares), list(shares.values()), k=size)
        conversations = [world.example("train", rng.getrandbits(48), task, self.bank.speak) for task in tasks]
        examples = [make_example(example, self.processor, self.words, NAMES) for example in conversations]
        # Sorted by adapter: the sequences of one adapter are then a slice of the batch.
        return join(sorted(examples, key=lambda example: str(example.training.adapter)))

    def _augmented(self, number: int, rng: np.random.Generator) -> tuple[AudioFrames, npt.NDArray[np.int64]]:
        """An utterance with new augmentation, and the word id at the middle of each encoder token, 0 for none."""
        factor = float(rng.uniform(*augment.STRETCH))
        clean = augment.stretch(self.bank.clean(number), factor)
        before, after = rng.uniform(*augment.SILENCE, 2)
        padded = augment.pad_silence(clean, RATE, before, after)
        features = log_mel(augment.degrade(padded, RATE, rng), RATE)
        loud = np.flatnonzero(np.abs(clean) > 0.02 * np.abs(clean).max())
        onsets = np.array(self.bank.onsets[number]) * factor
        limits = np.append(onsets, loud[-1] / RATE if len(loud) else 0.0) + before
        middles = (np.arange(audio_tokens(len(features))) * 8 + 1) / 100  # token t sees frames 8t - 7 to 8t + 7
        words = np.array([0, *self._spoken(number), 0])[np.searchsorted(limits, middles, side="right")]
        return AudioFrames(features, len(padded) / RATE), words

    def _spoken(self, number: int) -> tuple[int, ...]:
        return word_ids(self.bank.texts[number], self.words)


@functools.cache
def open_batch_maker(folder: Path) -> BatchMaker:
    """The batch maker of a run's folder, opened once per process."""
    bank = SpeechBank(folder / "speech")
    vocabulary = sorted({word for text in set(bank.texts) for word in normalise(text).split()})
    return BatchMaker(
        Processor(Tokenizer(folder / "tokenizer.json"), IMAGES, CONTEXT),
        bank,
        words={word: number for number, word in enumerate(vocabulary, start=1)},
    )


def make_audio_batch(folder: Path, seed: int, size: int, step: int) -> AudioExamples:
    """`BatchMaker.audio` of a run's folder, as a function that another process can import."""
    return open_batch_maker(folder).audio(seed, size, step)


def make_vision_batch(folder: Path, seed: int, size: int, step: int) -> VisionExamples:
    """`BatchMaker.vision` of a run's folder, as a function that another process can import."""
    return open_batch_maker(folder).vision(seed, size, step)


def make_joint_batch(folder: Path, seed: int, size: int, step: int) -> JointExamples:
    """`BatchMaker.joint` of a run's folder, as a function that another process can import."""
    return open_batch_maker(folder).joint(seed, size, step)


def join(examples: Sequence[NanoExample]) -> JointExamples:
    """Examples packed into one batch, in their order."""
    return JointExamples(
        collate([example.training for example in examples], CONTEXT),
        tuple(example.spoken for example in examples if example.spoken),
        tuple(example.shown for example in examples if example.shown),
    )
