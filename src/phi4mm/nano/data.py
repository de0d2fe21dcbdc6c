"""nano's examples and batches: what training/ makes of a conversation, and the words beside it that help to learn.

N clips or images, S encoder tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from phi4mm.metrics.words import normalise
from phi4mm.model.media import AudioBatch, ImageBatch
from phi4mm.nano.synth import world
from phi4mm.processing.processor import Processor
from phi4mm.training.collate import TrainingBatch
from phi4mm.training.data import Example, TrainingExample, make_training_example


@dataclass(frozen=True)
class NanoExample:
    """A training example, the ids of the words spoken in its audio, and of those that describe its image."""

    training: TrainingExample
    spoken: tuple[int, ...]
    shown: tuple[int, ...]


@dataclass(frozen=True)
class AudioExamples:
    """A batch of the audio stage.

    spoken       word ids of each clip
    frame_words  (N, S) int64, the word id at each encoder token, 0 between words and -1 past the end
    """

    clips: AudioBatch
    spoken: tuple[tuple[int, ...], ...]
    frame_words: Tensor

    def to(self, device: torch.device) -> AudioExamples:
        """The same on another device."""
        return AudioExamples(self.clips.to(device), self.spoken, self.frame_words.to(device))


@dataclass(frozen=True)
class VisionExamples:
    """A batch of the vision stage: images of one crop each, without global views, and word ids of what they show."""

    images: ImageBatch
    shown: tuple[tuple[int, ...], ...]

    def to(self, device: torch.device) -> VisionExamples:
        """The same on another device."""
        return VisionExamples(self.images.to(device), self.shown)


@dataclass(frozen=True)
class JointExamples:
    """A batch of the joint stage: word ids of each clip and of each image, in the batch's order."""

    training: TrainingBatch
    spoken: tuple[tuple[int, ...], ...]
    shown: tuple[tuple[int, ...], ...]

    def to(self, device: torch.device) -> JointExamples:
        """The same on another device."""
        return JointExamples(self.training.to(device), self.spoken, self.shown)


def make_example(
    example: world.Example, processor: Processor, words: Mapping[str, int], names: Mapping[str, int]
) -> NanoExample:
    """An example of the world as ids; `words` numbers the words spoken, `names` those that tell images apart.

    raises  InputError as the processor does
    """
    training = make_training_example(Example(example.messages, example.answer, example.tools), processor)
    return NanoExample(training, word_ids(example.spoken, words), word_ids(example.shown, names))


def word_ids(text: str, words: Mapping[str, int]) -> tuple[int, ...]:
    """The numbers of those words of a text that have one."""
    return tuple(words[word] for word in normalise(text).split() if word in words)
