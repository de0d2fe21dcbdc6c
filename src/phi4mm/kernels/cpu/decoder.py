"""All decoder layers for rows of one new token each, in one native call (csrc/decoder.c).

B rows, D model width, W pages of the longest row.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from phi4mm.kernels.cpu.library import Library
from phi4mm.kernels.cpu.ops import native, pages_struct, tables_struct, weight_struct
from phi4mm.kernels.kv_layout import LayerPages
from phi4mm.kernels.packed_weight import PackedWeight


@dataclass(frozen=True)
class AdapterPair:
    """An adapter's matrices in one linear layer: y += factor * b(a(x)), a (rank, I), b (O, rank)."""

    a: Tensor | PackedWeight
    b: Tensor | PackedWeight
    factor: float


@dataclass(frozen=True)
class LinearWeights:
    """A linear layer and its adapters, in one order for all layers; None for an adapter that has nothing here."""

    base: Tensor | PackedWeight
    adapters: tuple[AdapterPair | None, ...]


@dataclass(frozen=True)
class LayerWeights:
    """One decoder layer and its pages."""

    norm1: Tensor
    norm2: Tensor
    qkv: LinearWeights
    o: LinearWeights
    gate_up: LinearWeights
    down: LinearWeights
    pages: LayerPages

    @property
    def linears(self) -> tuple[LinearWeights, ...]:
        """The four linear layers, in the order in which they run."""
        return self.qkv, self.o, self.gate_up, self.down


@dataclass(frozen=True)
class DecoderShape:
    """What the weights do not say: query heads, rotated dims of a head, and the norms' epsilon."""

    heads: int
    rotary: int
    eps: float


def weights_of(layer: LayerWeights) -> Iterator[Tensor | PackedWeight]:
    """Every matrix of a layer."""
    for linear in layer.linears:
        yield linear.base
        for pair in linear.adapters:
            if pair is not None:
                yield from (pair.a, pair.b)


class NativeDecoder:
    """Tables of the addresses of weights and pages. They hold while every tensor stays where it is: see `run`."""

    def __init__(self, layers: Sequence[LayerWeights], shape: DecoderShape) -> None:
        """Only for layers that `select.fused_decoder_rows` accepts."""
        self._lib = native()
        self._dtype, self._pages = layers[0].norm1.dtype, layers[0].pages
        ranks = [pair.a.shape[0] for layer in layers for lin in layer.linears for pair in lin.adapters if pair]
        self._decoder = self._lib.structs["Decoder"](
            layers=len(layers),
            width=len(layers[0].norm1),
            heads=shape.heads,
            half=shape.rotary // 2,
            inner=layers[0].down.base.shape[1],
            rank=max(ranks, default=0),
            eps=shape.eps,
        )
        self._adapters = [_adapter_table(self._lib, lin) for layer in layers for lin in layer.linears]
        tables = iter(self._adapters)
        self._layers = (self._lib.structs["Layer"] * len(layers))()
        for to, layer in zip(self._layers, layers, strict=True):
            for name, lin in zip(("qkv", "o", "gate_up", "down"), layer.linears, strict=True):
                table = next(tables)
                setattr(to, name, self._lib.structs["Linear"](base=weight_struct(self._lib, lin.base), adapters=table))
            to.norm1, to.norm2 = layer.norm1.data_ptr(), layer.norm2.data_ptr()
            to.pages = pages_struct(self._lib, layer.pages)

    def run(
        self,
        x_BD: Tensor,
        cos: Tensor,
        sin: Tensor,
        slots: Tensor,
        tables: Tensor,
        lengths: Tensor,
        adapters: Sequence[tuple[int, int, int]],
    ) -> Tensor:
        """x (B, D) through all layers -> (B, D); writes to the rows' pages.

        Reads the addresses that the weights had: the caller makes sure that none has moved or been replaced.

        cos, sin    (B, 1, rotary) in x's dtype, that of the norms
        slots       (B,) int64; tables (B, W) and lengths (B,) int32, as attention takes them
        adapters    index, first and past-the-last row of rows that run with an adapter
        """
        assert x_BD.dtype == cos.dtype == sin.dtype == self._dtype, f"{x_BD.dtype} through a decoder of {self._dtype}"
        assert slots.dtype == torch.int64 and tables.dtype == lengths.dtype == torch.int32
        x = x_BD.clone(memory_format=torch.contiguous_format)
        cos, sin, slots, tables, lengths = (t.contiguous() for t in (cos, sin, slots, tables, lengths))
        structs, functions = self._lib.structs, self._lib.functions
        ranges = [structs["AdapterRange"](adapter=n, first=first, last=last) for n, first, last in adapters]
        step = structs["Step"](
            tables=tables_struct(self._lib, self._pages, tables, lengths),
            cos=cos.data_ptr(),
            sin=sin.data_ptr(),
            slots=slots.data_ptr(),
            ranges=(structs["AdapterRange"] * len(ranges))(*ranges),
            range_count=len(adapters),
        )
        decoder = ctypes.byref(self._decoder)
        size = functions.phi4mm_decoder_scratch(decoder, self._layers, ctypes.byref(step.tables))
        scratch = torch.empty(size, dtype=torch.uint8, device="cpu")
        failed = functions.phi4mm_decoder(
            decoder, self._layers, ctypes.byref(step), x.data_ptr(), x.dtype == torch.bfloat16, scratch.data_ptr(),
            torch.get_num_threads(),
        )  # fmt: skip
        assert not failed, f"slots {slots.tolist()} of {self._pages.keys.shape[0] * self._pages.keys.shape[1]}"
        return x


def _adapter_table(lib: Library, linear: LinearWeights) -> ctypes.Array[ctypes.Structure]:
    """An array of `Adapter`; one that has nothing here stays all zeros, its a.values NULL."""
    table = (lib.structs["Adapter"] * len(linear.adapters))()
    for to, pair in zip(table, linear.adapters, strict=True):
        if pair is not None:
            to.a, to.b, to.factor = weight_struct(lib, pair.a), weight_struct(lib, pair.b), pair.factor
    return table
