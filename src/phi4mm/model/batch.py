"""What one forward pass works on: sequences packed end to end, each with its own adapter, rotary table and pages.

T packed tokens, B sequences, b tokens in the decode part, Z pages of the longest sequence, M media embeddings, N
positions whose logits are wanted, D model width. Index tensors are made once a forward pass, not once a layer.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from phi4mm.model.kv import PagedKVCache
from phi4mm.protocol.inputs import Adapter

FEW_TOKENS = 8  # new tokens of a sequence: up to here they are decoded, each a query of its own over the pages


@dataclass(frozen=True)
class BatchedSequence:
    """One sequence's new tokens in a batch.

    tokens     how many new tokens it has in this batch
    past       how many tokens are in its pages already
    adapter    name of the LoRA that it runs with; None for none
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
    media_index   (M,) int64 packed indices whose embeddings they replace, in the order of `media`
    cache         keys and values in pages, to which the pass writes; None where sequences are run once, as in training
    """

    ids: Tensor
    sequences: tuple[BatchedSequence, ...]
    outputs: Tensor
    media: Tensor | None = None
    media_index: Tensor | None = None
    cache: PagedKVCache | None = None

    @cached_property
    def bounds(self) -> tuple[tuple[int, int], ...]:
        """First packed index of each sequence, and the one after its last."""
        ends = list(itertools.accumulate(sequence.tokens for sequence in self.sequences))
        return tuple((end - sequence.tokens, end) for sequence, end in zip(self.sequences, ends, strict=True))

    @cached_property
    def positions(self) -> Tensor:
        """(T,) int64 position of each token in its own sequence."""
        spans = [torch.arange(sequence.past, sequence.past + sequence.tokens) for sequence in self.sequences]
        return torch.cat(spans).to(self.ids.device)

    @cached_property
    def long_rope(self) -> Tensor:
        """(T,) bool, true for tokens of sequences that use the long factors of LongRoPE."""
        flags = torch.tensor([sequence.long_rope for sequence in self.sequences])
        counts = torch.tensor([sequence.tokens for sequence in self.sequences])
        return flags.repeat_interleave(counts).to(self.ids.device)

    @cached_property
    def adapter_tokens(self) -> dict[Adapter, Tensor | slice]:
        """Packed indices of the tokens that run with each adapter; a slice where they are consecutive."""
        by_name: dict[Adapter, list[tuple[int, int]]] = {}
        for sequence, bound in zip(self.sequences, self.bounds, strict=True):
            if sequence.adapter is not None:
                by_name.setdefault(sequence.adapter, []).append(bound)
        return {name: _index(bounds, self.ids.device) for name, bounds in by_name.items()}

    @cached_property
    def adapter_runs(self) -> tuple[tuple[Adapter, int, int], ...]:
        """Consecutive sequences with one adapter: its name, their first packed index, and the one after their last."""
        runs = []
        pairs = zip(self.sequences, self.bounds, strict=True)
        for adapter, run in itertools.groupby(pairs, key=lambda pair: pair[0].adapter):
            bounds = [bound for _, bound in run]
            if adapter is not None:
                runs.append((adapter, bounds[0][0], bounds[-1][1]))
        return tuple(runs)

    @cached_property
    def index_tables(self) -> tuple[Tensor, ...]:
        """Packed indices of the sequences, in tables of sequences that pad each other at most to twice their length.

        Each table is (sequences, tokens of the longest) int64, padded at the end with -1.
        """
        by_size: dict[int, list[tuple[int, int]]] = {}
        for start, end in self.bounds:
            by_size.setdefault((end - start - 1).bit_length(), []).append((start, end))
        return tuple(
            pad_sequence([torch.arange(*bounds) for bounds in group], batch_first=True, padding_value=-1).to(
                self.ids.device
            )
            for group in by_size.values()
        )

    @cached_property
    def tables(self) -> Tensor:
        """(B, Z) int32 page numbers of each sequence, padded with 0."""
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
        """(T,) int64 slots of the new tokens' keys and values: page number * page size + index in the page."""
        assert self.cache is not None
        size = self.cache.page_size
        counts = torch.tensor([sequence.tokens for sequence in self.sequences], device=self.ids.device)
        sequence_T = torch.arange(len(self.sequences), device=self.ids.device).repeat_interleave(counts)
        return self.tables[sequence_T, self.positions // size].long() * size + self.positions % size

    @cached_property
    def decode(self) -> tuple[Tensor | slice, Tensor, Tensor] | None:
        """Tokens of sequences with up to FEW_TOKENS new ones: packed indices, tables (b, Z), lengths (b,); or None.

        Each token attends to its sequence up to itself, as all keys are written before any is read. Z is that of the
        longest of these sequences.
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
        """Sequences with more new tokens: packed indices, table (1, pages of the sequence) and length (1,) of each."""
        parts = []
        for n, (sequence, (start, end)) in enumerate(zip(self.sequences, self.bounds, strict=True)):
            if sequence.tokens > FEW_TOKENS:
                width = -(-(sequence.past + sequence.tokens) // self._page_size)
                parts.append((slice(start, end), self.tables[n : n + 1, :width], self.lengths[n : n + 1]))
        return tuple(parts)

    @property
    def _page_size(self) -> int:
        assert self.cache is not None, "only sequences with a cache have pages"
        return self.cache.page_size


def _index(bounds: list[tuple[int, int]], device: torch.device) -> Tensor | slice:
    if all(end == start for (_, end), (start, _) in itertools.pairwise(bounds)):
        return slice(bounds[0][0], bounds[-1][1])
    return torch.cat([torch.arange(start, end) for start, end in bounds]).to(device)
