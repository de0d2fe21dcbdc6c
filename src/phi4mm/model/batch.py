"""What one forward pass works on: rows of tokens packed end to end, each with its own adapter, mode and cache.

T packed tokens, B rows, D model width.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from phi4mm.model.kv import RowCache
from phi4mm.prompt import Adapter


@dataclass(frozen=True)
class Row:
    """One row's share of a batch.

    tokens   how many new tokens it brings
    past     how many tokens its cache holds already
    adapter  the LoRA it runs with, None for text
    long     whether it is past the LongRoPE switch: more than `original_max_positions` tokens, cached and new
    cache    where its keys and values live; None for a row that is run once, as in training
    """

    tokens: int
    past: int = 0
    adapter: Adapter | None = None
    long: bool = False
    cache: RowCache | None = None


@dataclass(frozen=True)
class ForwardBatch:
    """Packed rows in, logits out.

    ids           (T,) int64 token ids; ids under media rows are not read
    rows          B rows, in the order in which they are packed
    outputs       (K,) int64 packed indices whose logits are wanted
    media         (M, D) projected encoder rows, or None
    media_index   (M,) int64 packed indices that they overwrite, in the order of `media`
    """

    ids: Tensor
    rows: tuple[Row, ...]
    outputs: Tensor
    media: Tensor | None = None
    media_index: Tensor | None = None

    @cached_property
    def bounds(self) -> tuple[tuple[int, int], ...]:
        """First and past-the-last packed index of each row."""
        ends = list(itertools.accumulate(row.tokens for row in self.rows))
        return tuple((end - row.tokens, end) for row, end in zip(self.rows, ends, strict=True))

    @cached_property
    def positions(self) -> Tensor:
        """(T,) int64 position of each token in its own row."""
        spans = [torch.arange(row.past, row.past + row.tokens) for row in self.rows]
        return torch.cat(spans).to(self.ids.device)

    @cached_property
    def long(self) -> Tensor:
        """(T,) bool, true for tokens of rows past the LongRoPE switch."""
        flags = torch.tensor([row.long for row in self.rows])
        counts = torch.tensor([row.tokens for row in self.rows])
        return flags.repeat_interleave(counts).to(self.ids.device)

    @cached_property
    def adapter_rows(self) -> dict[Adapter, Tensor | slice]:
        """Which packed tokens run with which adapter: a slice where they lie together."""
        found: dict[Adapter, list[tuple[int, int]]] = {}
        for row, bound in zip(self.rows, self.bounds, strict=True):
            if row.adapter is not None:
                found.setdefault(row.adapter, []).append(bound)
        return {name: _index(bounds, self.ids.device) for name, bounds in found.items()}


def _index(bounds: list[tuple[int, int]], device: torch.device) -> Tensor | slice:
    if all(end == start for (_, end), (start, _) in itertools.pairwise(bounds)):
        return slice(bounds[0][0], bounds[-1][1])
    return torch.cat([torch.arange(start, end) for start, end in bounds]).to(device)
