"""Answers of a batch token by token, in one step for all, as streamers and stopping criteria see them.

B prompts, S tokens of the longest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from phi4mm.compat.generation_config import GenerationConfig
from phi4mm.compat.stopping import StoppingCriteriaList
from phi4mm.compat.streamers import Streamer
from phi4mm.inference.model import Model
from phi4mm.inference.stream import Stream
from phi4mm.protocol.inputs import Adapter, Prompt


@contextmanager
def running(
    model: Model,
    prompts: Sequence[Prompt],
    config: GenerationConfig,
    seed: int | None,
    *,
    length: int,
    adapter: Adapter | None,
) -> Iterator[list[Stream]]:
    """One running answer for each prompt of `length` tokens, padding included; all of them end with the block.

    seed    of the first prompt; None draws one from torch's generator where the config samples
    raises  InputError for a prompt or options that can never run
    """
    if config.do_sample and seed is None:
        seed = int(torch.randint(2**62, ()))
    streams: list[Stream] = []
    try:
        for i, prompt in enumerate(prompts):
            params = config.sampling(None if seed is None else seed + i, prompt_tokens=length)
            streams.append(model.submit(prompt, params, adapter=adapter, eos_ids=config.eos_ids))
        yield streams
    finally:
        for stream in streams:
            stream.close()


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
