"""The fused decoder: all decoder layers for tokens that are decoded, in one native call (csrc/decoder.c).

O outputs, I inputs, R rank of a LoRA, D model width, b tokens to decode, Z pages of the longest sequence.
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
    """An adapter's matrices in one linear layer: y += factor * b(a(x)), a (R, I), b (O, R)."""

    a: Tensor | PackedWeight
    b: Tensor | PackedWeight
    factor: float


@dataclass(frozen=True)
class LinearWeights:
    """A linear layer and its adapters, in one order for all layers; None for an adapter without matrices here."""

    base: Tensor | PackedWeight
    adapters: tuple[AdapterPair | None, ...]


@dataclass(frozen=True)
class LayerWeights:
    """The weights of one decoder layer, and its pages."""

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
    """Query heads, rotated dims of a head, and the norms' epsilon, which the weights do not tell."""

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
    """The addresses of weights and pages, as kernels.h has them. They are valid while no tensor moves: see `run`."""

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
        for struct, layer in zip(self._layers, layers, strict=True):
            for name, lin in zip(("qkv", "o", "gate_up", "down"), layer.linears, strict=True):
                base = weight_struct(self._lib, lin.base)
                setattr(struct, name, self._lib.structs["Linear"](base=base, adapters=next(tables)))
            struct.norm1, struct.norm2 = layer.norm1.data_ptr(), layer.norm2.data_ptr()
            struct.pages = pages_struct(self._lib, layer.pages)

    def run(
        self,
        x_bD: Tensor,
        cos: Tensor,
        sin: Tensor,
        slots: Tensor,
        tables: Tensor,
        lengths: Tensor,
        adapters: Sequence[tuple[int, int, int]],
    ) -> Tensor:
        """x (b, D) through all layers -> (b, D); writes to the sequences' pages.

        It reads the weights at the addresses that they had: the caller makes sure that none was moved or replaced.

        cos, sin  (b, 1, rotary) in x's dtype, that of the norms
        slots     (b,) int64; tables (b, Z) and lengths (b,) int32, as attention takes them
        adapters  index of an adapter, the first token that runs with it, and the one after the last
        """
        assert x_bD.dtype == cos.dtype == sin.dtype == self._dtype, f"{x_bD.dtype} through a decoder of {self._dtype}"
        assert slots.dtype == torch.int64 and tables.dtype == lengths.dtype == torch.int32
        x = x_bD.clone(memory_format=torch.contiguous_format)
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
    """An array of `Adapter`. One without matrices here is all zeros, so its a.values is NULL."""
    table = (lib.structs["Adapter"] * len(linear.adapters))()
    for entry, pair in zip(table, linear.adapters, strict=True):
        if pair is not None:
            entry.a, entry.b, entry.factor = weight_struct(lib, pair.a), weight_struct(lib, pair.b), pair.factor
    return table
