"""nano's examples and batches: training examples, and the words spoken or shown in them for the auxiliary losses.

A audio clips, S encoder tokens of a clip.
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
    """A training example, the ids of the words spoken in its audio, and those of the words that describe its image."""

    training: TrainingExample
    spoken: tuple[int, ...]
    shown: tuple[int, ...]


@dataclass(frozen=True)
class AudioExamples:
    """A batch of the audio stage.

    spoken       word ids of each clip
    frame_words  (A, S) int64, the word id at each encoder token, 0 between words and -1 in the padding
    """

    clips: AudioBatch
    spoken: tuple[tuple[int, ...], ...]
    frame_words: Tensor

    def to(self, device: torch.device) -> AudioExamples:
        """This batch on another device."""
        return AudioExamples(self.clips.to(device), self.spoken, self.frame_words.to(device))


@dataclass(frozen=True)
class VisionExamples:
    """A batch of the vision stage: images of one crop each, without global view, and the word ids of each."""

    images: ImageBatch
    shown: tuple[tuple[int, ...], ...]

    def to(self, device: torch.device) -> VisionExamples:
        """This batch on another device."""
        return VisionExamples(self.images.to(device), self.shown)


@dataclass(frozen=True)
class JointExamples:
    """A batch of the joint stage: the word ids of each clip and of each image, in the order of the batch."""

    training: TrainingBatch
    spoken: tuple[tuple[int, ...], ...]
    shown: tuple[tuple[int, ...], ...]

    def to(self, device: torch.device) -> JointExamples:
        """This batch on another device."""
        return JointExamples(self.training.to(device), self.spoken, self.shown)


def make_example(
    example: world.Example, processor: Processor, words: Mapping[str, int], names: Mapping[str, int]
) -> NanoExample:
    """A training example from a synthetic conversation.

    words   ids of the words that are spoken
    names   ids of the words that describe images
    raises  InputError as the processor does
    """
    training = make_training_example(Example(example.messages, example.answer, example.tools), processor)
    return NanoExample(training, word_ids(example.spoken, words), word_ids(example.shown, names))


def word_ids(text: str, words: Mapping[str, int]) -> tuple[int, ...]:
    """The ids of the words of a text; a word without an id is left out."""
    return tuple(words[word] for word in normalise(text).split() if word in words)
