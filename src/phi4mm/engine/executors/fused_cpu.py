"""All decoder layers in one native call, for batches in which every sequence has few new tokens.

N positions whose logits are wanted, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from phi4mm.engine.weight_watch import weight_watch
from phi4mm.kernels.cpu.decoder import AdapterPair, DecoderShape, LayerWeights, LinearWeights, NativeDecoder
from phi4mm.kernels.kv_layout import LayerPages
from phi4mm.kernels.select import fused_decoder_rows
from phi4mm.model.batch import ForwardBatch
from phi4mm.model.kv import PagedKVCache
from phi4mm.model.lora import LoRALinear
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.model.text import DecoderLayer
from phi4mm.protocol.inputs import Adapter


class FusedCPUExecutor:
    """Keeps the addresses of weights and pages, and checks before each pass whether a weight was moved or replaced."""

    def __init__(self, model: Phi4MM, cache: PagedKVCache) -> None:
        self._text, self._config, self._cache = model.text, model.config.text, cache
        self._decoder: NativeDecoder | None = None
        self._max_tokens = 0
        self._names: tuple[Adapter, ...] = ()
        self._changed: Callable[[], bool] | None = None

    def accepts(self, batch: ForwardBatch) -> bool:
        """Whether every sequence has few new tokens, in this cache, and the native decoder supports the weights."""
        if batch.cache is not self._cache or batch.decode is None or batch.prefill:
            return False
        if self._changed is None or self._changed():
            self._prepare()
        return len(batch.ids) <= self._max_tokens

    def run(self, batch: ForwardBatch) -> Tensor:
        """Logits (N, V) at `batch.outputs`; writes to the sequences' pages."""
        assert self._decoder is not None and batch.decode is not None, "run needs a batch that accepts() has accepted"
        x = self._text.embed(batch)
        cos, sin = self._text.rotation(batch, x.dtype)
        _, tables, lengths = batch.decode
        adapters = [(self._names.index(name), first, last) for name, first, last in batch.adapter_runs]
        x = self._decoder.run(x, cos, sin, batch.slots, tables, lengths, adapters)
        return self._text.head(x, batch)

    def invalidate(self) -> None:
        """Forget all addresses."""
        self._decoder, self._changed, self._max_tokens = None, None, 0

    def _prepare(self) -> None:
        """Collect the addresses of the weights that the model has now."""
        self.invalidate()
        self._names = tuple(self._text.adapters)
        layers = [_layer(layer, self._cache.layer(n), self._names) for n, layer in enumerate(self._text.decoder_layers)]
        shape = DecoderShape(self._config.num_heads, self._config.rope.rotary_dim, self._config.rms_norm_eps)
        self._max_tokens = fused_decoder_rows(layers, shape)
        if self._max_tokens:
            self._decoder = NativeDecoder(layers, shape)
        versions, moved = dict(self._text.adapters), weight_watch(self._text, values=False)
        self._changed = lambda: self._text.adapters != versions or moved()


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
