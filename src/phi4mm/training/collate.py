"""Training examples to one packed batch, and the media to encode for it.

B sequences, T packed tokens, K labels, M media embeddings.
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
    """What one pass of training works on.

    text         sequences packed without padding; `outputs` are the tokens before the labels, `media_index` (M,) the
                 placeholders of all images, then those of all clips; `media` is None until they are encoded
    labels       (K,) int64 ids, in the order of `outputs`
    images       crops of all images, None without any
    clips        all audio padded together, None without any; projections  the audio projection of each clip
    """

    text: ForwardBatch
    labels: Tensor
    images: ImageBatch | None
    clips: AudioBatch | None
    projections: tuple[AudioProjection, ...]

    def to(self, device: torch.device) -> TrainingBatch:
        """The same on another device."""
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
        )


def collate(examples: Sequence[TrainingExample], original_max_positions: int) -> TrainingBatch:
    """Pack examples end to end, in their order, and gather their media, on the CPU.

    The last token of each is a label alone: nothing is to be said after it.
    original_max_positions  of the model's rope: a longer sequence is rotated with the long factors, as in inference
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
        learned = [place for place, flag in enumerate(example.label_mask) if flag]
        outputs += [start + place - 1 for place in learned]
        labels += [prompt.ids[place] for place in learned]
        ids += prompt.ids[:-1]
        tokens = len(ids) - start
        sequences.append(BatchedSequence(tokens, adapter=example.adapter, long_rope=tokens > original_max_positions))
    places = index["image"] + index["audio"]
    text = ForwardBatch(
        ids=torch.tensor(ids),
        sequences=tuple(sequences),
        outputs=torch.tensor(outputs),
        media_index=torch.tensor(places) if places else None,
    )
    return TrainingBatch(
        text=text,
        labels=torch.tensor(labels),
        images=batch_images(images) if images else None,
        clips=batch_audio(clips) if clips else None,
        projections=tuple(projections),
    )
