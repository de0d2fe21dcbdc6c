"""Makes the batches of nano's training stages: a plain function of the run's folder, the stage and the batch number."""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from phi4mm.metrics.words import normalise
from phi4mm.nano.recipe import CONTEXT, IMAGES, ORIGINAL_CONTEXT, RunFolder, Stage
from phi4mm.nano.speech_bank import SpeechBank
from phi4mm.nano.synth import picture_words, speaker, world
from phi4mm.nano.synth.example import Speaker
from phi4mm.processing.processor import Processor
from phi4mm.processing.tokenizer import Tokenizer
from phi4mm.training.collate import TrainingBatch, collate
from phi4mm.training.data import Example, TrainingExample, make_training_example
from phi4mm.training.preference import PreferenceBatch, collate_pairs

SEEDS = 2**48  # of examples; those of tasks with speech in the bank have fewer
PRINTED = "line"  # the task whose images hold one printed line on one crop
NAMES = {word: number for number, word in enumerate(picture_words.WORDS)}  # ids of the words that describe images


@dataclass(frozen=True)
class NanoExample:
    """A training example, and what is heard and seen in it.

    said     token ids of what is said in its clip
    shown    ids of the words that describe its image; empty for printed text
    printed  the bytes of the line that is printed in it
    """

    training: TrainingExample
    said: tuple[int, ...]
    shown: tuple[int, ...]
    printed: bytes


@dataclass(frozen=True)
class NanoBatch:
    """A training batch, with what is heard and seen in each of its examples."""

    training: TrainingBatch
    said: tuple[tuple[int, ...], ...]
    shown: tuple[tuple[int, ...], ...]
    printed: tuple[bytes, ...]

    @property
    def rows(self) -> tuple[str, ...]:
        """Task and seed of each example."""
        return self.training.rows

    @property
    def tokens(self) -> int:
        """Tokens of text and media."""
        return self.training.tokens

    def to(self, device: torch.device) -> NanoBatch:
        """This batch on another device."""
        return replace(self, training=self.training.to(device))


@dataclass(frozen=True)
class BatchMaker:
    """Makes the batches of a run.

    speak   makes the audio of a text; None for a synthesizer
    spoken  of the tasks whose speech the bank was made for, how many examples it has
    """

    processor: Processor
    speak: Speaker | None
    spoken: Mapping[str, int]
    pools: dict[str, list[list[NanoExample]]] = field(default_factory=dict)  # the last one, for its other batches

    def batch(self, stage: Stage, seed: int, number: int) -> NanoBatch:
        """Micro batch `number` of a stage."""
        name = f"{stage.name} {seed} {number // stage.pool}"
        if name not in self.pools:
            self.pools.clear()
            self.pools[name] = self._pool(stage, random.Random(name))
        pool = self.pools[name]
        # Sorted by adapter: the sequences of one adapter are then a slice of the batch.
        return join(sorted(pool[number % stage.pool], key=lambda example: str(example.training.adapter)))

    def pair(self, task: str, seed: int) -> tuple[TrainingExample, TrainingExample]:
        """The better and the worse answer of training example `seed` of a task that has both."""
        made = world.example("train", seed, task, self.speak)
        better, worse = (
            make_training_example(
                Example(made.messages, answer, made.tools, made.turns, f"{task} {seed}"), self.processor
            )
            for answer in (made.answer, made.rejected)
        )
        return better, worse

    def preferences(self, stage: Stage, seed: int, number: int) -> PreferenceBatch:
        """Micro batch `number` of a stage that learns preferences; examples without a worse answer are passed over."""
        rng = random.Random(f"{stage.name} {seed} {number}")
        pairs: list[tuple[TrainingExample, TrainingExample]] = []
        while sum(len(example.prompt.ids) for pair in pairs for example in pair) < stage.tokens:
            task, drawn = self.draw(stage, rng)
            if world.example("train", drawn, task, world.silent).rejected:
                pairs.append(self.pair(task, drawn))
        return collate_pairs(pairs, ORIGINAL_CONTEXT)

    def example(self, task: str, seed: int) -> NanoExample:
        """Training example `seed` of a task."""
        made = world.example("train", seed, task, self.speak)
        example = Example(made.messages, made.answer, made.tools, made.turns, f"{task} {seed}")
        said = tuple(self.processor.tokenizer.encode_text(speaker.transcript(made.spoken))) if made.spoken else ()
        printed = made.shown.encode() if task == PRINTED else b""
        shown = () if printed else word_ids(made.shown)
        return NanoExample(make_training_example(example, self.processor), said, shown, printed)

    def draw(self, stage: Stage, rng: random.Random) -> tuple[str, int]:
        """Task and seed of an example."""
        task = rng.choices(list(stage.tasks), list(stage.tasks.values()))[0]
        return task, rng.randrange(self.spoken.get(task, SEEDS))

    def _pool(self, stage: Stage, rng: random.Random) -> list[list[NanoExample]]:
        """Examples of `stage.pool` micro batches, those of about one length together, the batches in random order."""
        examples: list[NanoExample] = []
        total = 0
        while total < stage.pool * stage.tokens or len(examples) < stage.pool:
            examples.append(self.example(*self.draw(stage, rng)))
            total += len(examples[-1].training.prompt.ids)
        if stage.pool > 1:
            examples.sort(key=_length)
        pool = _cut(examples, stage.pool)
        rng.shuffle(pool)
        return pool


def _length(example: NanoExample) -> tuple[int, int]:
    """Tokens of its sound, which is padded to the longest of its batch, then of the whole."""
    prompt = example.training.prompt
    return sum(span.length for span in prompt.spans if span.kind == "audio"), len(prompt.ids)


def _cut(examples: Sequence[NanoExample], parts: int) -> list[list[NanoExample]]:
    """Cut a sequence of at least `parts` examples into parts of about as many tokens, each of one example or more."""
    rest = list(examples)
    batches = []
    for left in range(parts, 0, -1):
        share = sum(len(example.training.prompt.ids) for example in rest) / left
        taken, tokens = 0, 0.0
        while taken < len(rest) - left + 1:
            length = len(rest[taken].training.prompt.ids)
            if taken and left > 1 and tokens + length / 2 > share:
                break
            taken, tokens = taken + 1, tokens + length
        batches.append(rest[:taken])
        rest = rest[taken:]
    return batches


def join(examples: Sequence[NanoExample]) -> NanoBatch:
    """One batch of examples, in their order."""
    return NanoBatch(
        collate([example.training for example in examples], ORIGINAL_CONTEXT),
        said=tuple(example.said for example in examples),
        shown=tuple(example.shown for example in examples),
        printed=tuple(example.printed for example in examples),
    )


def word_ids(text: str) -> tuple[int, ...]:
    """The ids of the words of a description; a word without an id is left out."""
    return tuple(NAMES[word] for word in normalise(text).split() if word in NAMES)


@functools.cache
def open_batch_maker(folder: Path) -> BatchMaker:
    """The batch maker of a run's folder, opened once per process."""
    run = RunFolder(folder)
    bank = SpeechBank(run.speech) if (run.speech / "index.json").exists() else None
    processor = Processor(Tokenizer(run.tokenizer), IMAGES, CONTEXT)
    return BatchMaker(processor, bank.speak if bank else None, bank.spoken if bank else {})


def make_preferences(folder: Path, stage: Stage, seed: int, number: int) -> PreferenceBatch:
    """`BatchMaker.preferences` of a run's folder, as a function that another process can import."""
    return open_batch_maker(folder).preferences(stage, seed, number)


def make_answers(folder: Path, stage: Stage, seed: int, number: int) -> TrainingBatch:
    """The training batch of `BatchMaker.batch`, as a function that another process can import."""
    return open_batch_maker(folder).batch(stage, seed, number).training


def make_batch(folder: Path, stage: Stage, seed: int, number: int) -> NanoBatch:
    """`BatchMaker.batch` of a run's folder, as a function that another process can import."""
    return open_batch_maker(folder).batch(stage, seed, number)
