"""Loss functions of tensors, in float32.

N labels, D model width, V vocabulary, A audio clips, S encoder tokens of a clip, J classes of a training head, U
images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BLANK = 0  # the blank class of CTC; targets are numbered from 1
Keep = Callable[[Tensor], Tensor]
LABELS_AT_ONCE = 512  # whose logits are in memory at the same time


def cross_entropy(hidden: Tensor, head: Tensor, labels: Tensor) -> Tensor:
    """Mean over labels of the cross entropy of logits that are never in memory at once; see `label_logprobs`."""
    return -label_logprobs(hidden, head, labels).mean()


def label_logprobs(
    hidden: Tensor, head: Tensor, labels: Tensor, temperature: float = 1.0, keep: Keep | None = None
) -> Tensor:
    """Log-probability (N,) float32 of each label under the logits `hidden` times `head`, over a temperature.

    Logits are computed for LABELS_AT_ONCE labels at a time, and again in the backward pass. The products run in the
    dtype of autocast where it is on, the softmax in float32.

    hidden  (N, D) output of the decoder's last norm
    head    (V, D), as the tied embedding
    labels  (N,) int64
    keep    a sampler's filter: (n, V) logits over the temperature -> the same with -inf where a token cannot be drawn;
            a label is always kept. Called twice for each label
    """
    logprobs: Tensor = _LabelLogprobs.apply(hidden, head, labels, temperature, keep)  # type: ignore[no-untyped-call]
    return logprobs


class _LabelLogprobs(torch.autograd.Function):
    """`label_logprobs`. The gradient of one is the label's one-hot vector minus the softmax, over the temperature."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head: Tensor, labels: Tensor, temperature: float, keep: Keep | None
    ) -> Tensor:
        ctx.save_for_backward(hidden, head, labels)
        ctx.temperature, ctx.keep, ctx.dtype = temperature, keep, _product_dtype(hidden)
        weight = head.to(ctx.dtype)
        parts = []
        for part, targets in zip(hidden.split(LABELS_AT_ONCE), labels.split(LABELS_AT_ONCE), strict=True):
            logits = _kept(F.linear(part.to(ctx.dtype), weight).float() / temperature, targets, keep)
            parts.append(logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(1))
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        hidden, head, labels = ctx.saved_tensors
        weight = head.to(ctx.dtype)
        of_hidden = torch.empty_like(hidden)
        of_head = torch.zeros_like(head) if ctx.needs_input_grad[1] else None
        for start in range(0, len(labels), LABELS_AT_ONCE):
            chosen = slice(start, start + LABELS_AT_ONCE)
            part = hidden[chosen].to(ctx.dtype)
            logits = F.linear(part, weight).float().div_(ctx.temperature)
            change = _kept(logits, labels[chosen], ctx.keep).softmax(1).neg_()
            change.scatter_add_(1, labels[chosen, None], torch.ones_like(change[:, :1]))
            change *= (gradients[0][chosen] / ctx.temperature)[:, None]
            change = change.to(ctx.dtype)
            of_hidden[chosen] = change @ weight
            if of_head is not None:
                of_head += change.T @ part
        return of_hidden, of_head, None, None, None


def _kept(logits: Tensor, labels: Tensor, keep: Keep | None) -> Tensor:
    """The logits after a sampler's filter, which may not drop a label: rounding may differ where it was drawn."""
    return logits if keep is None else keep(logits).scatter(1, labels[:, None], logits.gather(1, labels[:, None]))


def _product_dtype(hidden: Tensor) -> torch.dtype:
    """In which dtype a product with `hidden` runs here."""
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype


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
