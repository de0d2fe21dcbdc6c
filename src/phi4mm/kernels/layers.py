"""All decoder layers for rows of one new token each in one call of C (csrc/layers.c); the model's layers are the twin.

B rows, D model width, L layers, W pages of the longest row.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from phi4mm.kernels.attention import GROUP_IN_C, KINDS, WIDTH_IN_C, LayerPages
from phi4mm.kernels.cpu import library as native
from phi4mm.kernels.linear import FEW_ROWS, MANY_ROWS
from phi4mm.kernels.packed_weight import PackedWeight
from phi4mm.kernels.precision import has_16_bit_units

ADAPTERS = 2  # as layers.c counts them
_P, _L, _D = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double


@dataclass(frozen=True)
class LinearWeights:
    """A linear layer and its adapters: A, B and factor of each, in one order for all layers."""

    base: Tensor | PackedWeight
    adapters: tuple[tuple[Tensor | PackedWeight, Tensor | PackedWeight, float], ...]


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


@dataclass(frozen=True)
class LayersShape:
    """What all layers share; `rotary` dims of a head are turned."""

    heads: int
    kv_heads: int
    head: int
    rotary: int
    eps: float


class _Weight(ctypes.Structure):
    _fields_ = (("weight", _P), ("scales", _P), ("bits", _L), ("outputs", _L), ("inputs", _L))


class _Linear(ctypes.Structure):
    _fields_ = (("base", _Weight), ("a", _Weight * ADAPTERS), ("b", _Weight * ADAPTERS), ("factor", _D * ADAPTERS))


class _Layer(ctypes.Structure):
    _fields_ = (
        *((name, _Linear) for name in ("qkv", "o", "gate_up", "down")),
        *((name, _P) for name in ("norm1", "norm2", "keys", "values", "key_scales", "value_scales")),
    )


class _Shape(ctypes.Structure):
    _fields_ = (
        *(
            (name, _L)
            for name in (
                "layers", "width", "heads", "kv_heads", "head", "half", "inner", "rank", "kind", "page", "places",
            )
        ),
        ("eps", _D),
    )  # fmt: skip


class _Range(ctypes.Structure):
    _fields_ = (("adapter", _L), ("first", _L), ("last", _L))


class _Step(ctypes.Structure):
    _fields_ = (
        *((name, _L) for name in ("rows", "table", "longest", "ranges")),
        *((name, _P) for name in ("cos", "sin", "slots", "tables", "lengths", "range")),
    )


class LayersInC:
    """Holds the weights and pages whose addresses C is given."""

    def __init__(self, layers: Sequence[LayerWeights], shape: LayersShape) -> None:
        """Only what `layers_in_c` says can run."""
        self._held = tuple(layers)
        keys = layers[0].pages[0]
        self._page = keys.shape[1]
        self._dtype = layers[0].norm1.dtype
        ranks = [a.shape[0] for layer in layers for linear in _linears(layer) for a, _, _ in linear.adapters]
        self._shape = _Shape(
            layers=len(layers), width=len(layers[0].norm1), heads=shape.heads, kv_heads=shape.kv_heads,
            head=shape.head, half=shape.rotary // 2, inner=layers[0].down.base.shape[1], rank=max(ranks, default=0),
            kind=KINDS[keys.dtype], page=self._page, places=keys.shape[0] * self._page, eps=shape.eps,
        )  # fmt: skip
        self._layers = (_Layer * len(layers))(*map(_layer, layers))
        plain = any(isinstance(w, Tensor) for layer in layers for linear in _linears(layer) for w in _weights(linear))
        # Beyond these rows other products are the faster ones, and a row must not change with its company.
        self.most_rows = FEW_ROWS - 1 if plain else MANY_ROWS - 1 if has_16_bit_units() else 1 << 30

    def __call__(
        self,
        x_BD: Tensor,
        cos: Tensor,
        sin: Tensor,
        slots: Tensor,
        tables: Tensor,
        lengths: Tensor,
        adapters: Sequence[tuple[int, int, int]],
    ) -> Tensor:
        """x (B, D) through all layers; writes to the rows' pages.

        cos, sin    (B, 1, rotary) in x's dtype
        slots       (B,) int64; tables (B, W) and lengths (B,) int32, as attention takes them
        adapters    number, first and past-the-last row of rows that run with an adapter
        """
        library = native.library()
        assert library is not None and x_BD.dtype == self._dtype and len(x_BD) <= self.most_rows
        assert slots.dtype == torch.int64 and tables.dtype == lengths.dtype == torch.int32
        x = x_BD.clone(memory_format=torch.contiguous_format)
        cos, sin, slots, tables, lengths = (t.contiguous() for t in (cos, sin, slots, tables, lengths))
        longest = tables.shape[1] * self._page
        ranges = (_Range * len(adapters))(*(_Range(*run) for run in adapters))
        step = _Step(
            len(x), tables.shape[1], longest, len(adapters), cos.data_ptr(), sin.data_ptr(), slots.data_ptr(),
            tables.data_ptr(), lengths.data_ptr(), ctypes.addressof(ranges),
        )  # fmt: skip
        size = library.phi4mm_layers_scratch(ctypes.byref(self._shape), len(x), longest)
        scratch = torch.empty(size, dtype=torch.uint8, device="cpu")
        failed = library.phi4mm_layers(
            ctypes.byref(self._shape), self._layers, ctypes.byref(step), x.data_ptr(), x.dtype == torch.bfloat16,
            scratch.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        assert not failed, f"slots {slots.tolist()} of {self._shape.places}"
        return x


def layers_in_c(layers: Sequence[LayerWeights], shape: LayersShape) -> LayersInC | None:
    """The layers as C runs them; None where it cannot: not on a CPU, plain float32 weights, shapes it does not know."""
    tensors = [t for layer in layers for t in (layer.norm1, layer.norm2, *layer.pages) if t is not None]
    weights = [w for layer in layers for linear in _linears(layer) for w in _weights(linear)]
    dtype = layers[0].norm1.dtype
    known = (
        dtype in (torch.float32, torch.bfloat16)
        and all(t.device.type == "cpu" and t.is_contiguous() for t in tensors)
        and all(layer.norm1.dtype == layer.norm2.dtype == dtype for layer in layers)
        and layers[0].pages[0].dtype in (dtype, torch.int8)
        and all(_in_c(w, dtype) for w in weights)
        and all(len(linear.adapters) <= ADAPTERS for layer in layers for linear in _linears(layer))
        and shape.head <= WIDTH_IN_C
        and shape.head % 8 == 0
        and shape.heads // shape.kv_heads <= GROUP_IN_C
    )
    return LayersInC(layers, shape) if known and native.library() is not None else None


def _in_c(weight: Tensor | PackedWeight, dtype: torch.dtype) -> bool:
    if isinstance(weight, PackedWeight):
        return weight.codes.device.type == "cpu" and weight.codes.is_contiguous() and weight.scales.is_contiguous()
    eights = not any(n % 8 for n in weight.shape)
    return weight.dtype == dtype == torch.bfloat16 and weight.device.type == "cpu" and weight.is_contiguous() and eights


def _linears(layer: LayerWeights) -> tuple[LinearWeights, ...]:
    return layer.qkv, layer.o, layer.gate_up, layer.down


def _weights(linear: LinearWeights) -> list[Tensor | PackedWeight]:
    return [linear.base, *(w for a, b, _ in linear.adapters for w in (a, b))]


def _layer(layer: LayerWeights) -> _Layer:
    pages = [None if t is None else t.data_ptr() for t in layer.pages]
    return _Layer(*map(_linear, _linears(layer)), layer.norm1.data_ptr(), layer.norm2.data_ptr(), *pages)


def _linear(linear: LinearWeights) -> _Linear:
    found = _Linear(base=_weight(linear.base))
    for n, (a, b, factor) in enumerate(linear.adapters):
        found.a[n], found.b[n], found.factor[n] = _weight(a), _weight(b), factor
    return found


def _weight(weight: Tensor | PackedWeight) -> _Weight:
    if isinstance(weight, PackedWeight):
        return _Weight(weight.codes.data_ptr(), weight.scales.data_ptr(), weight.bits, *weight.shape)
    return _Weight(weight.data_ptr(), None, 16, *weight.shape)
