"""From a plan to the one batch that the model runs.

T packed tokens, M media embeddings, D model width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from phi4mm.engine.encoder_cache import EncoderCache
from phi4mm.engine.scheduler import ScheduledChunk
from phi4mm.model.batch import BatchedSequence, ForwardBatch
from phi4mm.model.kv import PagedKVCache


def pack(
    plan: Sequence[ScheduledChunk],
    encoded: EncoderCache[Tensor],
    cache: PagedKVCache,
    device: torch.device,
) -> ForwardBatch:
    """The plan's sequences packed end to end. Logits are computed where tokens are sampled or verified.

    `encoded` holds the (M, D) encoder output of every media item that a chunk overlaps; the part in the chunk is used.
    """
    ids: list[int] = []
    sequences: list[BatchedSequence] = []
    media: list[Tensor] = []
    media_positions: list[int] = []
    outputs: list[int] = []
    for chunk in plan:
        request = chunk.request
        for span in request.prompt.spans:
            first, last = max(span.start, chunk.start), min(span.start + span.length, chunk.end)
            if first < last:
                embeddings = encoded.get(request.media_key(span))
                media.append(embeddings[first - span.start : last - span.start])
                media_positions += range(len(ids) + first - chunk.start, len(ids) + last - chunk.start)
        ids += [*request.tokens(chunk.start, chunk.end), *chunk.proposed]
        if chunk.samples:
            outputs += range(len(ids) - 1 - len(chunk.proposed), len(ids))
        sequences.append(
            BatchedSequence(chunk.tokens, chunk.start, request.adapter, request.long_rope, tuple(request.pages))
        )
    return ForwardBatch(
        ids=torch.tensor(ids, device=device),
        sequences=tuple(sequences),
        outputs=torch.tensor(outputs, dtype=torch.int64, device=device),
        media=torch.cat(media) if media else None,
        media_index=torch.tensor(media_positions, device=device) if media else None,
        cache=cache,
    )
