"""All decoder layers in one native call, for batches in which every sequence brings few tokens.

T packed tokens, N wanted logits, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import getitem, is_not
from typing import Any

from torch import Tensor, nn

from phi4mm.kernels.cpu.decoder import AdapterPair, DecoderShape, LayerWeights, LinearWeights, NativeDecoder
from phi4mm.kernels.kv_layout import LayerPages
from phi4mm.kernels.select import fused_decoder_rows
from phi4mm.model.batch import ForwardBatch
from phi4mm.model.kv import PagedCache
from phi4mm.model.lora import LoRALinear
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.model.text import DecoderLayer
from phi4mm.protocol.inputs import Adapter


class FusedCPUExecutor:
    """Holds the addresses of weights and pages, and looks before each pass whether a weight has moved since."""

    def __init__(self, model: Phi4MM, cache: PagedCache) -> None:
        self._text, self._config, self._cache = model.text, model.config.text, cache
        self._decoder: NativeDecoder | None = None
        self._rows = 0
        self._names: tuple[Adapter, ...] = ()
        self._changed: Callable[[], bool] | None = None

    def accepts(self, batch: ForwardBatch) -> bool:
        """Whether every sequence brings few tokens, over this cache, and the native decoder knows the weights."""
        if batch.cache is not self._cache or batch.decoding is None or batch.chunks:
            return False
        if self._changed is None or self._changed():
            self._prepare()
        return len(batch.ids) <= self._rows

    def run(self, batch: ForwardBatch) -> Tensor:
        """Logits (N, V) at `batch.outputs`; writes to the sequences' pages."""
        assert self._decoder is not None and batch.decoding is not None, "only what was accepted can run"
        x = self._text.embed(batch)
        cos, sin = self._text.rotation(batch, x.dtype)
        _, tables, lengths = batch.decoding
        adapters = [(self._names.index(name), first, last) for name, first, last in batch.adapter_runs]
        x = self._decoder.run(x, cos, sin, batch.slots, tables, lengths, adapters)
        return self._text.head(x, batch)

    def invalidate(self) -> None:
        """Forget all addresses."""
        self._decoder, self._changed, self._rows = None, None, 0

    def _prepare(self) -> None:
        """Read the weights that the model has now."""
        self.invalidate()
        self._names = tuple(self._text.adapters)
        layers = [_layer(layer, self._cache.layer(n), self._names) for n, layer in enumerate(self._text.decoder_layers)]
        shape = DecoderShape(self._config.num_heads, self._config.rope.rotary_dim, self._config.rms_norm_eps)
        self._rows = fused_decoder_rows(layers, shape)
        if self._rows:
            self._decoder = NativeDecoder(layers, shape)
        versions, moved = dict(self._text.adapters), weight_watch(self._text)
        self._changed = lambda: self._text.adapters != versions or moved()


def weight_watch(root: nn.Module) -> Callable[[], bool]:
    """A question: has a tensor below `root` been replaced or moved since this call? Values set in place do not count.

    Modules are compared by identity, tensors by address. A tensor of the same form in the freed memory of the one
    before it counts as unchanged, which is right: its address holds the new values. So plain weights that are replaced
    can be freed at once; modules that are replaced live until the next look, lest another be taken for one of them.
    """
    modules = list(root.modules())
    children = _Entries([module._modules for module in modules])
    parameters = _Entries([module._parameters for module in modules])
    buffers = _Entries([module._buffers for module in modules])
    seen_children, seen_buffers = children.now(), buffers.now()
    seen_addresses = list(map(Tensor.data_ptr, parameters.now()))

    def changed() -> bool:
        try:
            return (
                children.now() != seen_children
                or list(map(Tensor.data_ptr, parameters.now())) != seen_addresses
                or any(map(is_not, buffers.now(), seen_buffers))
            )
        except KeyError:
            return True

    return changed


class _Entries:
    """The entries of some dicts, found again in one pass of C: a model has a thousand. A missing one is a KeyError."""

    def __init__(self, owners: list[Any]) -> None:
        pairs = [(owner, key) for owner in owners for key, value in owner.items() if value is not None]
        self._owners, self._keys = [owner for owner, _ in pairs], [key for _, key in pairs]

    def now(self) -> list[Any]:
        return list(map(getitem, self._owners, self._keys))


def _layer(layer: DecoderLayer, pages: LayerPages, names: tuple[Adapter, ...]) -> LayerWeights:
    qkv, o, gate_up, down = (_linear(linear, names) for linear in layer.linears)
    return LayerWeights(
        norm1=layer.input_layernorm.weight,
        norm2=layer.post_attention_layernorm.weight,
        qkv=qkv,
        o=o,
        gate_up=gate_up,
        down=down,
        pages=pages,
    )


def _linear(linear: LoRALinear, names: tuple[Adapter, ...]) -> LinearWeights:
    pairs = (
        AdapterPair(linear.lora_a[name], linear.lora_b[name], linear.scaling[name]) if name in linear.scaling else None
        for name in names
    )
    return LinearWeights(linear.weight, tuple(pairs))
