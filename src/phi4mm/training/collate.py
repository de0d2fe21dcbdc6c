"""Packs training examples into one batch without padding, and gathers the images and audio clips to encode for it.

N labels, M media embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from phi4mm.model.batch import BatchedSequence, ForwardBatch
from phi4mm.model.media import AudioBatch, ImageBatch, batch_audio, batch_images
from phi4mm.processing.pixels import to_tiles
from phi4mm.protocol.inputs import AudioFrames, AudioProjection, ImageTiles
from phi4mm.training.data import TrainingExample


@dataclass(frozen=True)
class TrainingBatch:
    """The input and the labels of one forward pass.

    text         sequences packed without padding; `outputs` are the indices of the tokens before the labels,
                 `media_index` (M,) those of the placeholders of all images, then of all clips; `media` is None until
                 images and clips are encoded
    labels       (N,) int64 ids, in the order of `outputs`
    images       crops of all images, None without images
    clips        all clips padded to one length, None without audio
    projections  the audio projection of each clip
    rows         names of the examples, for messages
    """

    text: ForwardBatch
    labels: Tensor
    images: ImageBatch | None
    clips: AudioBatch | None
    projections: tuple[AudioProjection, ...]
    rows: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """Tokens of text and media."""
        return len(self.text.ids)

    def to(self, device: torch.device) -> TrainingBatch:
        """This batch on another device."""
        index = self.text.media_index
        text = replace(
            self.text,
            ids=self.text.ids.to(device),
            outputs=self.text.outputs.to(device),
            media_index=None if index is None else index.to(device),
        )
        return TrainingBatch(
            text,
            self.labels.to(device),
            None if self.images is None else self.images.to(device),
            None if self.clips is None else self.clips.to(device),
            self.projections,
            self.rows,
        )


def collate(examples: Sequence[TrainingExample], original_max_positions: int) -> TrainingBatch:
    """Concatenate examples in their order and gather their media, on the CPU.

    The last token of each example is only a label, not an input: no token follows it.

    original_max_positions  of the model's RoPE; a longer sequence uses the long factors, as in inference
    """
    ids: list[int] = []
    outputs: list[int] = []
    labels: list[int] = []
    sequences: list[BatchedSequence] = []
    index: dict[str, list[int]] = {"image": [], "audio": []}
    images: list[ImageTiles] = []
    clips: list[AudioFrames] = []
    projections: list[AudioProjection] = []
    for example in examples:
        prompt, start = example.prompt, len(ids)
        for span in prompt.spans:
            index[span.kind] += range(start + span.start, start + span.start + span.length)
            if isinstance(span.data, AudioFrames):
                clips.append(span.data)
                projections.append(prompt.audio_projection)
            else:
                images.append(to_tiles(span.data))
        learned = [position for position, flag in enumerate(example.label_mask) if flag]
        outputs += [start + position - 1 for position in learned]
        labels += [prompt.ids[position] for position in learned]
        ids += prompt.ids[:-1]
        tokens = len(ids) - start
        sequences.append(BatchedSequence(tokens, adapter=example.adapter, long_rope=tokens > original_max_positions))
    media_index = index["image"] + index["audio"]
    text = ForwardBatch(
        ids=torch.tensor(ids),
        sequences=tuple(sequences),
        outputs=torch.tensor(outputs),
        media_index=torch.tensor(media_index) if media_index else None,
    )
    return TrainingBatch(
        text=text,
        labels=torch.tensor(labels),
        images=batch_images(images) if images else None,
        clips=batch_audio(clips) if clips else None,
        projections=tuple(projections),
        rows=tuple(example.name for example in examples),
    )
