"""What one forward pass works on: sequences packed end to end, each with its own adapter, rotary table and pages.

T packed tokens, B sequences, W pages of the longest sequence, M media embeddings, N wanted logits, D model width. Index
tensors are made once a pass, not once a layer.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from phi4mm.model.kv import PagedKVCache
from phi4mm.protocol.inputs import Adapter

FEW_TOKENS = 8  # of a sequence: up to here each token attends by itself and reads keys from their pages


@dataclass(frozen=True)
class BatchedSequence:
    """One sequence's new tokens in a batch.

    tokens     how many new tokens it brings
    past       how many tokens its pages hold already
    adapter    the LoRA it runs with, None for none
    long_rope  whether it uses the long factors: it has more than `original_max_positions` tokens, cached and new
    pages      its page numbers in the batch's cache, in order, with room for the new tokens; empty without a cache
    """

    tokens: int
    past: int = 0
    adapter: Adapter | None = None
    long_rope: bool = False
    pages: tuple[int, ...] = ()


@dataclass(frozen=True)
class ForwardBatch:
    """Packed sequences in, logits out.

    ids           (T,) int64 token ids; ids of media placeholders are not read
    sequences     B of them, in the order in which they are packed
    outputs       (N,) int64 packed indices whose logits are wanted
    media         (M, D) media embeddings (projected encoder outputs), or None
    media_index   (M,) int64 packed indices that they overwrite, in the order of `media`
    cache         where keys and values live, extended by the pass; None where sequences are run once, as in training
    """

    ids: Tensor
    sequences: tuple[BatchedSequence, ...]
    outputs: Tensor
    media: Tensor | None = None
    media_index: Tensor | None = None
    cache: PagedKVCache | None = None

    @cached_property
    def bounds(self) -> tuple[tuple[int, int], ...]:
        """First and past-the-last packed index of each sequence."""
        ends = list(itertools.accumulate(sequence.tokens for sequence in self.sequences))
        return tuple((end - sequence.tokens, end) for sequence, end in zip(self.sequences, ends, strict=True))

    @cached_property
    def positions(self) -> Tensor:
        """(T,) int64 position of each token in its own sequence."""
        spans = [torch.arange(sequence.past, sequence.past + sequence.tokens) for sequence in self.sequences]
        return torch.cat(spans).to(self.ids.device)

    @cached_property
    def long_rope(self) -> Tensor:
        """(T,) bool, true for tokens of sequences that use the long factors."""
        flags = torch.tensor([sequence.long_rope for sequence in self.sequences])
        counts = torch.tensor([sequence.tokens for sequence in self.sequences])
        return flags.repeat_interleave(counts).to(self.ids.device)

    @cached_property
    def adapter_tokens(self) -> dict[Adapter, Tensor | slice]:
        """Which packed tokens run with which adapter: a slice where they lie together."""
        found: dict[Adapter, list[tuple[int, int]]] = {}
        for sequence, bound in zip(self.sequences, self.bounds, strict=True):
            if sequence.adapter is not None:
                found.setdefault(sequence.adapter, []).append(bound)
        return {name: _index(bounds, self.ids.device) for name, bounds in found.items()}

    @cached_property
    def adapter_runs(self) -> tuple[tuple[Adapter, int, int], ...]:
        """Neighbours with one adapter: its name, their first and past-the-last packed index."""
        found = []
        pairs = zip(self.sequences, self.bounds, strict=True)
        for adapter, run in itertools.groupby(pairs, key=lambda pair: pair[0].adapter):
            bounds = [bound for _, bound in run]
            if adapter is not None:
                found.append((adapter, bounds[0][0], bounds[-1][1]))
        return tuple(found)

    @cached_property
    def tables(self) -> Tensor:
        """(B, W) int32 page numbers of each sequence, padded with 0."""
        width = max(len(sequence.pages) for sequence in self.sequences)
        padded = [(*sequence.pages, *(0,) * (width - len(sequence.pages))) for sequence in self.sequences]
        return torch.tensor(padded, dtype=torch.int32).to(self.ids.device)

    @cached_property
    def lengths(self) -> Tensor:
        """(B,) int32 tokens of each sequence, cached and new."""
        lengths = [sequence.past + sequence.tokens for sequence in self.sequences]
        return torch.tensor(lengths, dtype=torch.int32).to(self.ids.device)

    @cached_property
    def slots(self) -> Tensor:
        """(T,) int64 where in the cache each new token's keys and values go: page number * page + place in the page."""
        assert self.cache is not None
        size = self.cache.page_size
        counts = torch.tensor([sequence.tokens for sequence in self.sequences], device=self.ids.device)
        sequence_T = torch.arange(len(self.sequences), device=self.ids.device).repeat_interleave(counts)
        return self.tables[sequence_T, self.positions // size].long() * size + self.positions % size

    @cached_property
    def decode(self) -> tuple[Tensor | slice, Tensor, Tensor] | None:
        """Tokens of sequences that bring few: packed indices (b,), tables (b, W) and lengths (b,); None without any.

        Each token attends to its sequence's pages up to itself: all keys are written before any is read.
        """
        chosen = [n for n, sequence in enumerate(self.sequences) if sequence.tokens <= FEW_TOKENS]
        if not chosen:
            return None
        width = -(-max(self.sequences[n].past + self.sequences[n].tokens for n in chosen) // self._page_size)
        where = _index([self.bounds[n] for n in chosen], self.ids.device)
        sequence_b = [n for n in chosen for _ in range(self.sequences[n].tokens)]
        return where, self.tables[sequence_b, :width].contiguous(), (self.positions[where] + 1).int()

    @cached_property
    def prefill(self) -> tuple[tuple[slice, Tensor, Tensor], ...]:
        """Sequences of many new tokens: packed indices, table (1, W') and length (1,) of each."""
        found = []
        for n, (sequence, (start, end)) in enumerate(zip(self.sequences, self.bounds, strict=True)):
            if sequence.tokens > FEW_TOKENS:
                width = -(-(sequence.past + sequence.tokens) // self._page_size)
                found.append((slice(start, end), self.tables[n : n + 1, :width], self.lengths[n : n + 1]))
        return tuple(found)

    @property
    def _page_size(self) -> int:
        assert self.cache is not None, "only sequences with a cache have pages"
        return self.cache.page_size


def _index(bounds: list[tuple[int, int]], device: torch.device) -> Tensor | slice:
    if all(end == start for (_, end), (start, _) in itertools.pairwise(bounds)):
        return slice(bounds[0][0], bounds[-1][1])
    return torch.cat([torch.arange(start, end) for start, end in bounds]).to(device)
