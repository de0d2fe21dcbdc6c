"""One forward pass over a training batch: encode the media with gradients, insert the embeddings, run the decoder.

N labels, D model width.
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

    hidden  (N, D) at the tokens before the labels; the logits that predict each label are its products with the head
    images  one (tokens, D) tensor per image
    audio   the encoded clips, None without audio
    """

    hidden: Tensor
    images: list[Tensor]
    audio: EncodedAudio | None


def forward(model: Phi4MM, batch: TrainingBatch) -> ForwardResult:
    """The decoder's last hidden states, and the embeddings of the media. Raises ConfigError as encoding does."""
    images = [] if batch.images is None else encode_images(model, batch.images)
    audio = None if batch.clips is None else encode_audio(model, batch.clips, batch.projections)
    media = images if audio is None else [*images, *audio.embeddings]
    hidden = model.text.hidden(replace(batch.text, media=torch.cat(media) if media else None))
    return ForwardResult(hidden, images, audio)
