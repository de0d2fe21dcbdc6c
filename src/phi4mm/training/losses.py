"""What is minimised, as functions of tensors; each gives a scalar in float32.

K labels, V vocabulary, N clips or images, S encoder tokens, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

BLANK = 0  # the class of CTC that says nothing; targets are numbered from 1
NO_LABEL = -1  # in `frame_ce`, a token that carries no loss


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over labels; logits (K, V), labels (K,) int64."""
    return F.cross_entropy(logits.float(), labels)


def ctc(logits: Tensor, tokens: Tensor, targets: Sequence[Sequence[int]]) -> Tensor:
    """Connectionist temporal classification: the mean over clips of each one's loss a target.

    logits   (N, S, C), class 0 the blank; tokens  (N,) int64, how many of the S are the clip's own
    targets  the classes of each clip in order; what cannot fit its tokens counts as zero
    """
    scores = F.log_softmax(logits.float(), dim=-1).transpose(0, 1)
    wanted = torch.tensor([target for clip in targets for target in clip], device=logits.device)
    lengths = torch.tensor([len(clip) for clip in targets])
    return F.ctc_loss(scores, wanted, tokens, lengths, BLANK, zero_infinity=True)


def frame_ce(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of the class at each token; logits (N, S, C), labels (N, S) int64, NO_LABEL for none."""
    return F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=NO_LABEL)


def multilabel(logits: Tensor, labels: Sequence[Sequence[int]]) -> Tensor:
    """Binary cross entropy of which classes are present, summed over classes, mean over N.

    logits  (N, C); labels  the classes present in each
    """
    logits = logits.float()
    present = torch.zeros_like(logits)
    for line, classes in zip(present, labels, strict=True):
        line[list(classes)] = 1
    return F.binary_cross_entropy_with_logits(logits, present, reduction="sum") / len(logits)
