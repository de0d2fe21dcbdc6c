"""Answers of a batch token by token, in one step for all, as streamers and stopping criteria see them.

B prompts, S tokens of the longest.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from phi4mm.compat.stopping import StoppingCriteriaList
from phi4mm.compat.streamers import Streamer
from phi4mm.inference.stream import Stream


def answers_in_step(
    streams: Sequence[Stream], ids: Tensor, pad: int, streamer: Streamer | None, criteria: StoppingCriteriaList
) -> Tensor:
    """(B, S + longest answer) int64 on the CPU: the prompts, the answers with their ends, then `pad`.

    Each step takes one token of every answer that goes on, hands them to the streamer, and asks the criteria.
    `ids` is (B, S) int64 on the CPU. Raises the error of a request that failed.
    """
    tokens = [stream.token_ids() for stream in streams]
    running = set(range(len(streams)))
    columns = [ids]
    if streamer is not None:
        streamer.put(ids)
    while running:
        column = torch.full((len(streams), 1), pad)
        for n in sorted(running):
            token = next(tokens[n], None)
            if token is None:
                running.remove(n)
            else:
                column[n] = token
        if not running:
            break
        columns.append(column)
        if streamer is not None:
            streamer.put(column[:, 0])
        if criteria:
            stopped = set(criteria(torch.cat(columns, dim=1), None).nonzero()[:, 0].tolist())
            for n in stopped & running:
                streams[n].close()
            running -= stopped
    if streamer is not None:
        streamer.end()
    return torch.cat(columns, dim=1)
