"""What is minimised: cross entropy of the answers, and CTC of the words spoken.

K labels, V vocabulary, N clips, S encoder tokens, W encoder width, D model width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from phi4mm.config import CONV_STRIDE
from phi4mm.model.batch import ForwardBatch
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.train.collate import Clips, TrainBatch

BLANK = 0  # of the CTC head; words are numbered from 1


def ctc(head: nn.Linear, encoded: Tensor, clips: Clips) -> Tensor:
    """Mean CTC loss a word; encoded (N, S, W)."""
    scores = F.log_softmax(head(encoded), dim=-1).transpose(0, 1)
    targets = torch.tensor([word for words in clips.spoken for word in words])
    lengths = torch.tensor([len(words) for words in clips.spoken])
    return F.ctc_loss(scores, targets, -(-clips.frames // CONV_STRIDE), lengths, BLANK, zero_infinity=True)


def answers(model: Phi4MM, batch: TrainBatch, ctc_head: nn.Linear | None = None) -> dict[str, Tensor]:
    """Scalar losses of a batch: `answer`, the mean cross entropy of its labels, and `ctc` where a head is given."""
    losses: dict[str, Tensor] = {}
    media: list[Tensor] = []
    if batch.pictures is not None:
        assert model.image is not None
        media += model.image(batch.pictures.pixels, batch.pictures.mask, batch.pictures.grids)
    if batch.clips is not None:
        assert model.audio is not None
        encoded = model.audio.encoder(batch.clips.features, batch.clips.frames)
        if ctc_head is not None:
            losses["ctc"] = ctc(ctc_head, encoded, batch.clips)
        counts = (-(-batch.clips.frames // CONV_STRIDE)).tolist()
        for rows, count, name in zip(encoded, counts, batch.projections, strict=True):
            media.append(model.audio.projection[name](rows[:count]))
    packed = ForwardBatch(
        batch.ids, batch.rows, batch.outputs, torch.cat(media) if media else None, batch.media_index if media else None
    )
    losses["answer"] = F.cross_entropy(model(packed), batch.labels)
    return losses
