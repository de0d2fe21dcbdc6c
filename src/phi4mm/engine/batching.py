"""From a plan to the one batch that the model sees.

T packed tokens, M media rows, D model width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from phi4mm.engine.encoder_cache import MediaCache
from phi4mm.engine.scheduler import Chunk
from phi4mm.model.batch import ForwardBatch, Row
from phi4mm.model.kv import PagedCache


def pack(
    plan: Sequence[Chunk],
    encoded: MediaCache[Tensor],
    cache: PagedCache,
    device: torch.device,
) -> ForwardBatch:
    """Rows of the plan end to end, asking for logits where a token is to be drawn: at a row's end and at its guesses.

    `encoded` holds the (M, D) rows of every medium that a chunk overlaps; the part in the chunk is spliced in.
    """
    ids: list[int] = []
    rows: list[Row] = []
    media: list[Tensor] = []
    places: list[int] = []
    outputs: list[int] = []
    for chunk in plan:
        request = chunk.request
        for span in request.prompt.spans:
            first, last = max(span.start, chunk.start), min(span.start + span.length, chunk.end)
            if first < last:
                rows_of_span = encoded.get(request.media_key(span))
                media.append(rows_of_span[first - span.start : last - span.start])
                places += range(len(ids) + first - chunk.start, len(ids) + last - chunk.start)
        ids += [*request.tokens(chunk.start, chunk.end), *chunk.draft]
        if chunk.samples:
            outputs += range(len(ids) - 1 - len(chunk.draft), len(ids))
        rows.append(Row(chunk.tokens, chunk.start, request.adapter, request.long, tuple(request.pages)))
    return ForwardBatch(
        ids=torch.tensor(ids, device=device),
        rows=tuple(rows),
        outputs=torch.tensor(outputs, dtype=torch.int64, device=device),
        media=torch.cat(media) if media else None,
        media_index=torch.tensor(places, device=device) if media else None,
        cache=cache,
    )
