"""The decoder: Phi-4-Mini with a LoRA for each sequence, partial rotary embedding, grouped queries and a tied head.

T packed tokens, N positions whose logits are wanted, D model width, H query heads, K key/value heads, E head width, V
vocabulary.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from phi4mm.config.model import AdapterConfig, TextConfig
from phi4mm.config.validate import shown
from phi4mm.errors import ConfigError
from phi4mm.kernels.kv_layout import LayerPages
from phi4mm.kernels.select import (
    causal_attention,
    decode_attention,
    linear,
    packed_causal_attention,
    prefill_attention,
    rotate_heads,
    swiglu,
)
from phi4mm.model.adapter_weights import PROJECTIONS, AdapterWeights, Target
from phi4mm.model.batch import ForwardBatch
from phi4mm.model.layers import RMSNorm, Rotary
from phi4mm.model.lora import NAME, LoRALinear, adapter_problems
from phi4mm.protocol.inputs import Adapter

Adapters = Mapping[Adapter, AdapterConfig]


class SelfAttention(nn.Module):
    """Grouped-query causal attention with fused projections."""

    def __init__(self, config: TextConfig, adapters: Adapters) -> None:
        super().__init__()
        self._heads, self._kv_heads, self._width = config.num_heads, config.num_kv_heads, config.head_dim
        total = (config.num_heads + 2 * config.num_kv_heads) * config.head_dim
        self.qkv_proj = LoRALinear(config.hidden_size, total, adapters)
        self.o_proj = LoRALinear(config.num_heads * config.head_dim, config.hidden_size, adapters)

    def forward(self, x: Tensor, batch: ForwardBatch, cos: Tensor, sin: Tensor, layer: int) -> Tensor:
        """x (T, D) -> (T, D); writes to the sequences' pages."""
        qkv = self.qkv_proj(x, batch.adapter_tokens).view(x.shape[0], -1, self._width)
        qkv = rotate_heads(qkv, self._heads + self._kv_heads, cos, sin)
        q_THE, k_TKE, v_TKE = qkv.split([self._heads, self._kv_heads, self._kv_heads], dim=1)
        if batch.cache is None:
            alone = len(batch.sequences) == 1
            out_THE = (
                causal_attention(q_THE, k_TKE, v_TKE)
                if alone
                else packed_causal_attention(q_THE, k_TKE, v_TKE, batch.index_tables)
            )
        else:
            batch.cache.write(layer, batch.slots, k_TKE, v_TKE)
            out_THE = _cached_attention(q_THE, batch, batch.cache.layer(layer))
        return self.o_proj(out_THE.reshape(x.shape[0], -1), batch.adapter_tokens)


def _cached_attention(q_THE: Tensor, batch: ForwardBatch, pages: LayerPages) -> Tensor:
    """(T, H, E): every sequence over its own pages; the decode part in one call, each prefill in one of its own."""
    if batch.decode is not None and not batch.prefill:
        _, tables, lengths = batch.decode
        return decode_attention(q_THE, pages, tables, lengths)
    out_THE = torch.empty_like(q_THE)
    if batch.decode is not None:
        where, tables, lengths = batch.decode
        out_THE[where] = decode_attention(q_THE[where], pages, tables, lengths)
    for where, table, length in batch.prefill:
        out_THE[where] = prefill_attention(q_THE[where], pages, table, length)
    return out_THE


class MLP(nn.Module):
    """SwiGLU: down(up * silu(gate)), gate first in the fused projection."""

    def __init__(self, config: TextConfig, adapters: Adapters) -> None:
        super().__init__()
        self.gate_up_proj = LoRALinear(config.hidden_size, 2 * config.intermediate_size, adapters)
        self.down_proj = LoRALinear(config.intermediate_size, config.hidden_size, adapters)

    def forward(self, x: Tensor, batch: ForwardBatch) -> Tensor:
        """x (T, D) -> (T, D)."""
        return self.down_proj(swiglu(self.gate_up_proj(x, batch.adapter_tokens)), batch.adapter_tokens)


class DecoderLayer(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, config: TextConfig, adapters: Adapters) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = SelfAttention(config, adapters)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config, adapters)

    def forward(self, x: Tensor, batch: ForwardBatch, cos: Tensor, sin: Tensor, layer: int) -> Tensor:
        """x (T, D) -> (T, D)."""
        x = x + self.self_attn(self.input_layernorm(x), batch, cos, sin, layer)
        return x + self.mlp(self.post_attention_layernorm(x), batch)

    @property
    def linears(self) -> tuple[LoRALinear, ...]:
        """Its linear layers in the order in which they run, which is that of PROJECTIONS."""
        return self.self_attn.qkv_proj, self.self_attn.o_proj, self.mlp.gate_up_proj, self.mlp.down_proj


class TextDecoder(nn.Module):
    """Token ids and media embeddings in, logits out. `forward` is `embed`, the layers one by one, and `head`."""

    def __init__(self, config: TextConfig, adapters: Adapters) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config, adapters) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self._rotary = Rotary(config.rope)
        self._versions = itertools.count()
        self._adapters = {name: next(self._versions) for name in adapters}

    @property
    def adapters(self) -> Mapping[Adapter, int]:
        """Name and version of each adapter, in one order for all layers. No two adapters ever had the same version."""
        return self._adapters

    @property
    def decoder_layers(self) -> list[DecoderLayer]:
        """The layers in order."""
        return [layer for layer in self.layers if isinstance(layer, DecoderLayer)]

    def forward(self, batch: ForwardBatch) -> Tensor:
        """Logits (N, V) at `batch.outputs`, in the model's dtype. Writes to the sequences' pages."""
        return linear(self.hidden(batch), self.embed_tokens.weight)

    def hidden(self, batch: ForwardBatch) -> Tensor:
        """(N, D) output of the last norm at `batch.outputs`, from which the tied head makes logits."""
        x = self.embed(batch)
        cos, sin = self.rotation(batch, x.dtype)
        for n, layer in enumerate(self.layers):
            x = layer(x, batch, cos, sin, n)
        normed: Tensor = self.norm(x[batch.outputs])
        return normed

    def embed(self, batch: ForwardBatch) -> Tensor:
        """(T, D) input of the first layer. Raises ConfigError for an adapter that the model does not have."""
        for sequence in batch.sequences:
            if sequence.adapter is not None and sequence.adapter not in self._adapters:
                raise _unknown_adapter(sequence.adapter, self._adapters)
        x: Tensor = self.embed_tokens(batch.ids)
        if batch.media is not None:
            assert batch.media_index is not None and len(batch.media) == len(batch.media_index), (
                f"{len(batch.media)} media embeddings for {batch.media_index} placeholders"
            )
            x = x.index_copy(0, batch.media_index, batch.media.to(x.dtype))
        return x

    def rotation(self, batch: ForwardBatch, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """cos and sin (T, 1, rotary) of the tokens' positions, in `dtype`."""
        return self._rotary(batch.positions, batch.long_rope, dtype)

    def head(self, x: Tensor, batch: ForwardBatch) -> Tensor:
        """x (T, D) after the last layer -> logits (N, V) at `batch.outputs`."""
        return linear(self.norm(x[batch.outputs]), self.embed_tokens.weight)

    def add_adapter(self, name: Adapter, weights: AdapterWeights, *, trainable: bool) -> None:
        """As `Phi4MM.add_adapter`."""
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ConfigError(f"an adapter is named {shown(name)}; expected 1 to 64 letters, digits, `_` or `-`")
        if name in self._adapters:
            raise ConfigError(f"the adapter name {name!r} is in use; remove that adapter first or choose another name")
        linears = self._linears()
        problems = list(adapter_problems(weights, linears))
        if problems:
            raise ConfigError(f"the adapter {name!r} does not fit this model:\n  " + "\n  ".join(problems))
        for target, (a, b) in weights.layers.items():
            linears[target].add(name, a, b, weights.scaling, dtype=self.norm.weight.dtype, trainable=trainable)
        self._adapters[name] = next(self._versions)

    def remove_adapter(self, name: Adapter) -> None:
        """As `Phi4MM.remove_adapter`."""
        if name not in self._adapters:
            raise _unknown_adapter(name, self._adapters)
        del self._adapters[name]
        for module in self._linears().values():
            module.remove(name)

    def adapter_weights(self, name: Adapter) -> AdapterWeights:
        """As `Phi4MM.adapter_weights`."""
        if name not in self._adapters:
            raise _unknown_adapter(name, self._adapters)
        layers: dict[Target, tuple[Tensor, Tensor]] = {}
        scaling = 0.0
        for target, module in self._linears().items():
            if name in module.scaling:
                a, b = module.lora_a[name], module.lora_b[name]
                if not isinstance(a, Tensor) or not isinstance(b, Tensor):
                    raise ConfigError(f"the adapter {name!r} is packed; load the model without `quantize`")
                layers[target], scaling = (a, b), module.scaling[name]
        return AdapterWeights(layers, scaling)

    def merge_adapter(self, name: Adapter) -> None:
        """As `Phi4MM.merge_adapter`."""
        weights, linears = self.adapter_weights(name), self._linears()
        with torch.no_grad():
            for target, (a, b) in weights.layers.items():
                base = linears[target].weight
                if not isinstance(base, Tensor):
                    raise ConfigError("the base weights are packed; load the model without `quantize`")
                base.add_(b @ a, alpha=weights.scaling)
        self.remove_adapter(name)

    def _linears(self) -> dict[Target, LoRALinear]:
        return {
            (n, projection): module
            for n, layer in enumerate(self.decoder_layers)
            for projection, module in zip(PROJECTIONS, layer.linears, strict=True)
        }


def _unknown_adapter(name: Adapter, known: Mapping[Adapter, int]) -> ConfigError:
    has = ", ".join(known) or "none"
    return ConfigError(
        f"the model has no adapter {shown(name)}; it has {has}; add it with `add_adapter` or name another"
    )
