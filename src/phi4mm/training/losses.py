"""Loss functions of tensors; each returns a float32 scalar.

N labels, V vocabulary, A audio clips, S encoder tokens of a clip, J classes of a training head, U images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

BLANK = 0  # the blank class of CTC; targets are numbered from 1
NO_LABEL = -1  # in `frame_ce`, the label of a token without loss


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over labels; logits (N, V), labels (N,) int64."""
    return F.cross_entropy(logits.float(), labels)


def ctc(logits: Tensor, tokens: Tensor, targets: Sequence[Sequence[int]]) -> Tensor:
    """Connectionist temporal classification: each clip's loss divided by its number of targets, then the mean.

    logits   (A, S, J), class 0 the blank
    tokens   (A,) int64, how many encoder tokens each clip has; the rest is padding
    targets  the classes of each clip in order; a clip with too few tokens for its targets has loss zero
    """
    scores = F.log_softmax(logits.float(), dim=-1).transpose(0, 1)
    flat = torch.tensor([target for clip in targets for target in clip], device=logits.device)
    lengths = torch.tensor([len(clip) for clip in targets])
    return F.ctc_loss(scores, flat, tokens, lengths, BLANK, zero_infinity=True)


def frame_ce(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy per token; logits (A, S, J), labels (A, S) int64, NO_LABEL for none."""
    return F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=NO_LABEL)


def multilabel(logits: Tensor, labels: Sequence[Sequence[int]]) -> Tensor:
    """Binary cross entropy of which classes are present, summed over classes, mean over images.

    logits  (U, J)
    labels  the classes present in each image
    """
    logits = logits.float()
    present = torch.zeros_like(logits)
    for row, classes in zip(present, labels, strict=True):
        row[list(classes)] = 1
    return F.binary_cross_entropy_with_logits(logits, present, reduction="sum") / len(logits)
