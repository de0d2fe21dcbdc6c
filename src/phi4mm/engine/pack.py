"""From a plan to the one batch that the model sees.

T packed tokens, M media rows, D model width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from phi4mm.engine.request import Request
from phi4mm.engine.scheduler import Chunk
from phi4mm.model.batch import ForwardBatch, Row
from phi4mm.model.kv import RowCache


def pack(
    plan: Sequence[Chunk], state: Callable[[Request], tuple[RowCache, Tensor | None]], device: torch.device
) -> ForwardBatch:
    """Rows of the plan end to end, asking for the logits of each row's last token.

    `state` gives a request's cache and its encoded media (M, D). Media are spliced where a chunk begins at token 0, and
    chunks that begin later hold no placeholders.
    """
    ids: list[int] = []
    rows: list[Row] = []
    media: list[Tensor] = []
    media_index: list[int] = []
    ends: list[int] = []
    for chunk in plan:
        cache, encoded = state(chunk.request)
        if chunk.start == 0 and encoded is not None:
            media.append(encoded)
            for span in chunk.request.prompt.spans:
                media_index += range(len(ids) + span.start, len(ids) + span.start + span.length)
        ids += chunk.request.tokens(chunk.start, chunk.end)
        ends.append(len(ids) - 1)
        rows.append(Row(chunk.end - chunk.start, chunk.start, chunk.request.prompt.adapter, chunk.long, cache))
    return ForwardBatch(
        ids=torch.tensor(ids, device=device),
        rows=tuple(rows),
        outputs=torch.tensor(ends, device=device),
        media=torch.cat(media) if media else None,
        media_index=torch.tensor(media_index, device=device) if media else None,
    )
