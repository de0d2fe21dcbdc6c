"""The output of `model(**inputs)`.

B prompts, S tokens of the longest, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from phi4mm.config.validate import shown
from phi4mm.errors import InputError
from phi4mm.inference.model import Model
from phi4mm.protocol.inputs import Adapter, Prompt

MAX_LOGITS = 2**30  # numbers


@dataclass(frozen=True)
class Logits:
    """The output of a forward pass: `.logits`, also as item 0 or "logits"."""

    logits: Tensor

    def __getitem__(self, key: int | str) -> Tensor:
        if key not in (0, "logits"):
            raise InputError(f"the output has no {shown(key)}; expected 'logits', which is all that it holds")
        return self.logits


def forward(
    model: Model, prompts: Sequence[Prompt], *, length: int, keep: int | None, adapter: Adapter | None
) -> Logits:
    """Logits (B, S, V) of prompts padded on the left to `length`, zeros where they are padded.

    keep    how many of the last tokens; None and 0: all
    raises  InputError for more than 4 GiB of them in float32
    """
    kept = min(int(keep or length), length)
    if len(prompts) * kept * model.config.text.vocab_size > MAX_LOGITS:
        raise InputError(
            f"the logits of {len(prompts)} x {kept} tokens take more than {4 * MAX_LOGITS >> 30} GiB in float32; "
            "give fewer prompts at a time, or num_logits_to_keep=1"
        )
    rows = [model.prompt_logits(prompt, num_tokens=kept, adapter=adapter) for prompt in prompts]
    return Logits(torch.stack([torch.nn.functional.pad(row, (0, 0, kept - len(row), 0)) for row in rows]))
