"""Log-probabilities of a prompt's own tokens, for harnesses that score texts."""

from __future__ import annotations

import torch

from phi4mm.inference.model import Model
from phi4mm.protocol.inputs import Adapter, Prompt
from phi4mm.protocol.response import TokenLogprobs

ROWS = 64  # that are computed at once, in float32


def prompt_logprobs(model: Model, prompt: Prompt, top: int, adapter: Adapter | None) -> list[TokenLogprobs]:
    """One entry for each token but the first, which nothing comes before. Blocks. Raises InputError."""
    logits = model.prompt_logits(prompt, adapter=adapter)[:-1]
    entries: list[TokenLogprobs] = []
    for start in range(0, len(logits), ROWS):
        rows = torch.log_softmax(logits[start : start + ROWS].float(), dim=-1)
        values, ids = rows.topk(top, dim=-1)
        for row, id, best, names in zip(rows, prompt.ids[start + 1 :], values.tolist(), ids.tolist(), strict=False):
            entries.append(TokenLogprobs(id, float(row[id]), tuple(zip(names, best, strict=True))))
    return entries
