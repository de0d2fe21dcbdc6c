"""What one forward pass works on: rows of tokens packed end to end, each with its own adapter, mode and pages.

T packed tokens, B rows, W pages of the longest row, D model width. Index tensors are made once a pass, not a layer.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from phi4mm.model.kv import PagedCache
from phi4mm.protocol.inputs import Adapter

FEW_TOKENS = 8  # of a row: up to here each attends by itself, which reads keys in their pages


@dataclass(frozen=True)
class Row:
    """One row's share of a batch.

    tokens   how many new tokens it brings
    past     how many tokens its pages hold already
    adapter  the LoRA it runs with, None for text
    long     whether it is past the LongRoPE switch: more than `original_max_positions` tokens, cached and new
    pages    its page numbers in the batch's cache, in order, with room for the new tokens; empty without a cache
    """

    tokens: int
    past: int = 0
    adapter: Adapter | None = None
    long: bool = False
    pages: tuple[int, ...] = ()


@dataclass(frozen=True)
class ForwardBatch:
    """Packed rows in, logits out.

    ids           (T,) int64 token ids; ids under media rows are not read
    rows          B rows, in the order in which they are packed
    outputs       (N,) int64 packed indices whose logits are wanted
    media         (M, D) projected encoder rows, or None
    media_index   (M,) int64 packed indices that they overwrite, in the order of `media`
    cache         where keys and values live, extended by the pass; None where rows are run once, as in training
    """

    ids: Tensor
    rows: tuple[Row, ...]
    outputs: Tensor
    media: Tensor | None = None
    media_index: Tensor | None = None
    cache: PagedCache | None = None

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

    @cached_property
    def adapter_runs(self) -> tuple[tuple[Adapter, int, int], ...]:
        """Neighbours with one adapter: its name, their first and past-the-last packed index."""
        found = []
        pairs = zip(self.rows, self.bounds, strict=True)
        for adapter, run in itertools.groupby(pairs, key=lambda pair: pair[0].adapter):
            bounds = [bound for _, bound in run]
            if adapter is not None:
                found.append((adapter, bounds[0][0], bounds[-1][1]))
        return tuple(found)

    @cached_property
    def tables(self) -> Tensor:
        """(B, W) int32 page numbers of each row, filled up with 0."""
        width = max(len(row.pages) for row in self.rows)
        padded = [(*row.pages, *(0,) * (width - len(row.pages))) for row in self.rows]
        return torch.tensor(padded, dtype=torch.int32).to(self.ids.device)

    @cached_property
    def lengths(self) -> Tensor:
        """(B,) int32 tokens of each row, cached and new."""
        lengths = [row.past + row.tokens for row in self.rows]
        return torch.tensor(lengths, dtype=torch.int32).to(self.ids.device)

    @cached_property
    def slots(self) -> Tensor:
        """(T,) int64 where in the cache each new token's keys and values go: page number * page + place in the page."""
        assert self.cache is not None
        size = self.cache.page_tokens
        counts = torch.tensor([row.tokens for row in self.rows], device=self.ids.device)
        row_T = torch.arange(len(self.rows), device=self.ids.device).repeat_interleave(counts)
        return self.tables[row_T, self.positions // size].long() * size + self.positions % size

    @cached_property
    def decoding(self) -> tuple[Tensor | slice, Tensor, Tensor] | None:
        """Tokens of rows that bring few: packed indices (b,), tables (b, W) and lengths (b,); None without any.

        Each token looks back on its own, over the row's pages up to itself: keys are written before any is read.
        """
        chosen = [n for n, row in enumerate(self.rows) if row.tokens <= FEW_TOKENS]
        if not chosen:
            return None
        width = -(-max(self.rows[n].past + self.rows[n].tokens for n in chosen) // self._page_tokens)
        where = _index([self.bounds[n] for n in chosen], self.ids.device)
        row_b = [n for n in chosen for _ in range(self.rows[n].tokens)]
        return where, self.tables[row_b, :width].contiguous(), (self.positions[where] + 1).int()

    @cached_property
    def chunks(self) -> tuple[tuple[slice, Tensor, Tensor], ...]:
        """Rows of many new tokens: packed indices, table (1, W') and length (1,) of each."""
        found = []
        for n, (row, (start, end)) in enumerate(zip(self.rows, self.bounds, strict=True)):
            if row.tokens > FEW_TOKENS:
                width = -(-(row.past + row.tokens) // self._page_tokens)
                found.append((slice(start, end), self.tables[n : n + 1, :width], self.lengths[n : n + 1]))
        return tuple(found)

    @property
    def _page_tokens(self) -> int:
        assert self.cache is not None, "only rows with a cache have pages"
        return self.cache.page_tokens


def _index(bounds: list[tuple[int, int]], device: torch.device) -> Tensor | slice:
    if all(end == start for (_, end), (start, _) in itertools.pairwise(bounds)):
        return slice(bounds[0][0], bounds[-1][1])
    return torch.cat([torch.arange(start, end) for start, end in bounds]).to(device)
