"""What is minimised: cross entropy of the answers, and CTC of the words spoken.

K labels, V vocabulary, N clips, S encoder tokens, W encoder width, D model width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from phi4mm.config.model import CONV_STRIDE
from phi4mm.model.batch import ForwardBatch
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.nano.collate import Clips, TrainBatch

BLANK = 0  # of the CTC head; words are numbered from 1


def ctc(head: nn.Linear, encoded: Tensor, clips: Clips) -> Tensor:
    """Mean CTC loss a word; encoded (N, S, W)."""
    scores = F.log_softmax(head(encoded), dim=-1).transpose(0, 1)
    targets = torch.tensor([word for words in clips.spoken for word in words])
    lengths = torch.tensor([len(words) for words in clips.spoken])
    return F.ctc_loss(scores, targets, -(-clips.frames // CONV_STRIDE), lengths, BLANK, zero_infinity=True)


def uttering(head: nn.Linear, encoded: Tensor, uttered: Tensor) -> Tensor:
    """Mean cross entropy of the word at each encoder token; encoded (N, S, W), uttered (N, S) with -1 for none."""
    return F.cross_entropy(head(encoded).flatten(0, 1), uttered.flatten(), ignore_index=-1)


def naming(head: nn.Linear, rows: list[Tensor], shown: tuple[tuple[int, ...], ...]) -> Tensor:
    """How well the mean of each picture's projected rows (tokens, D) tells the words that describe it."""
    scores = head(torch.stack([row.mean(0) for row in rows]))
    truth = torch.zeros_like(scores)
    for line, words in zip(truth, shown, strict=True):
        line[list(words)] = 1
    return F.binary_cross_entropy_with_logits(scores, truth, reduction="sum") / len(rows)


def answers(model: Phi4MM, batch: TrainBatch, hearing: nn.Linear, naming_head: nn.Linear) -> dict[str, Tensor]:
    """Scalar losses of a batch: `answer`, the mean cross entropy of its labels; `ctc` and `naming` of its media."""
    losses: dict[str, Tensor] = {}
    media: list[Tensor] = []
    if batch.pictures is not None:
        assert model.image is not None
        media += model.image(batch.pictures.pixels, batch.pictures.mask, batch.pictures.grids)
        losses["naming"] = naming(naming_head, media, batch.pictures.shown)
    if batch.clips is not None:
        assert model.audio is not None
        encoded = model.audio.encoder(batch.clips.features, batch.clips.frames)
        losses["ctc"] = ctc(hearing, encoded, batch.clips)
        counts = (-(-batch.clips.frames // CONV_STRIDE)).tolist()
        for rows, count, name in zip(encoded, counts, batch.projections, strict=True):
            media.append(model.audio.projection[name](rows[:count]))
    packed = ForwardBatch(
        batch.ids, batch.rows, batch.outputs, torch.cat(media) if media else None, batch.media_index if media else None
    )
    losses["answer"] = F.cross_entropy(model(packed), batch.labels)
    return losses
