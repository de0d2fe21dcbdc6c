"""One pass of the model over a training batch: encode the media with gradients, splice, decode.

K labels, V vocabulary, D model width.
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
    """What losses are made of.

    logits  (K, V), one row a label
    images  one (tokens, D) tensor an image; audio  what became of the clips, None without any
    """

    logits: Tensor
    images: list[Tensor]
    audio: EncodedAudio | None


def forward(model: Phi4MM, batch: TrainingBatch) -> ForwardResult:
    """Logits before each label, and the embeddings of the media on the way. Raises ConfigError as encoding does."""
    images = [] if batch.images is None else encode_images(model, batch.images)
    audio = None if batch.clips is None else encode_audio(model, batch.clips, batch.projections)
    media = images if audio is None else [*images, *audio.embeddings]
    logits: Tensor = model(replace(batch.text, media=torch.cat(media) if media else None))
    return ForwardResult(logits, images, audio)
