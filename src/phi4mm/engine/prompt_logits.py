"""The logits of a prompt's own tokens, for callers that compare or score. Nothing is sampled or cached.

Q tokens of one forward pass, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from phi4mm.engine.encoders import encode_media
from phi4mm.engine.kv_capacity import free_bytes
from phi4mm.errors import InputError
from phi4mm.model.batch import BatchedSequence, ForwardBatch
from phi4mm.model.kv import PagedKVCache, token_bytes
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.protocol.inputs import Adapter, Prompt

PREFILL = 256  # prompt tokens per forward pass


@torch.inference_mode()
def prompt_logits(
    model: Phi4MM, prompt: Prompt, adapter: Adapter | None, first: int = 0
) -> Iterator[tuple[int, Tensor]]:
    """(start, logits (Q, V)) of the prompt's tokens from number `first` on, PREFILL tokens of the prompt per pass."""
    config, weight, total = model.config.text, model.text.norm.weight, len(prompt.ids)
    device = weight.device
    media = encode_media(model, prompt, device)
    placeholders = torch.tensor([i for span in prompt.spans for i in range(span.start, span.start + span.length)])
    cache = PagedKVCache(config, pages=1, page_size=total, device=device, dtype=weight.dtype)
    for start in range(0, total, PREFILL):
        ids = torch.tensor(prompt.ids[start : start + PREFILL], device=device)
        inside = (placeholders >= start) & (placeholders < start + len(ids))
        embeddings = None if media is None else media[inside.to(device)]
        index = (placeholders[inside] - start).to(device)
        sequence = BatchedSequence(len(ids), start, adapter, total > config.rope.original_max_positions, (0,))
        outputs = torch.arange(min(max(first - start, 0), len(ids)), len(ids), device=device)
        yield max(start, first), model(ForwardBatch(ids, (sequence,), outputs, embeddings, index, cache))


def last_logits(model: Phi4MM, prompt: Prompt, adapter: Adapter | None, keep: int) -> Tensor:
    """(keep, V) logits of the prompt's last `keep` tokens.

    raises  InputError where they and the keys and values take more than half of the free memory
    """
    text, weight, total = model.config.text, model.text.norm.weight, len(prompt.ids)
    logit_bytes = keep * text.vocab_size * weight.dtype.itemsize
    key_bytes, free = total * token_bytes(text, weight.dtype), free_bytes(weight.device)
    if logit_bytes + key_bytes > free // 2:
        raise InputError(
            f"the logits of {keep} tokens take {logit_bytes} bytes and the keys and values of {total} tokens "
            f"{key_bytes}; expected at most half of the {free} bytes that are free, so ask for fewer"
        )
    result = torch.empty(keep, text.vocab_size, dtype=weight.dtype, device=weight.device)
    first = total - keep
    for start, logits in prompt_logits(model, prompt, adapter, first):
        result[start - first :][: len(logits)] = logits
    return result
