"""One forward pass over a training batch: encode the media with gradients, insert the embeddings, run the decoder.

N labels, V vocabulary, D model width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from phi4mm.model.media import EncodedAudio, encode_audio, encode_images
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.training.collate import TrainingBatch


@dataclass(frozen=True)
class ForwardResult:
    """What the losses are computed from.

    logits  (N, V)
    images  one (tokens, D) tensor per image
    audio   the encoded clips, None without audio
    """

    logits: Tensor
    images: list[Tensor]
    audio: EncodedAudio | None


def forward(model: Phi4MM, batch: TrainingBatch) -> ForwardResult:
    """The logits that predict each label, and the embeddings of the media. Raises ConfigError as encoding does."""
    images = [] if batch.images is None else encode_images(model, batch.images)
    audio = None if batch.clips is None else encode_audio(model, batch.clips, batch.projections)
    media = images if audio is None else [*images, *audio.embeddings]
    logits: Tensor = model(replace(batch.text, media=torch.cat(media) if media else None))
    return ForwardResult(logits, images, audio)
