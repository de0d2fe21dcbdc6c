"""The decoder: Phi-4-Mini with LoRA by row, partial rotary, grouped queries and a tied head.

T packed tokens, S tokens of one row, D model width, H query heads, K key/value heads, E head width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from phi4mm.config.model import AdapterConfig, TextConfig
from phi4mm.kernels.attention import LayerPages, causal_attention, chunk_attention, decode_attention
from phi4mm.kernels.elementwise import rotate_heads, swiglu
from phi4mm.kernels.layers import LayersInC, LayersShape, LayerWeights, layers_in_c
from phi4mm.kernels.linear import linear
from phi4mm.model.batch import ForwardBatch
from phi4mm.model.kv import PagedCache
from phi4mm.model.layers import RMSNorm, Rotary
from phi4mm.model.lora import LoRALinear
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
        """x (T, D) -> (T, D); writes to the rows' pages."""
        qkv = self.qkv_proj(x, batch.adapter_rows).view(x.shape[0], -1, self._width)
        qkv = rotate_heads(qkv, self._heads + self._kv_heads, cos, sin)
        q_THE, k_TKE, v_TKE = qkv.split([self._heads, self._kv_heads, self._kv_heads], dim=1)
        if batch.cache is None:
            bounds = batch.bounds
            out_THE = torch.cat([causal_attention(q_THE[a:b], k_TKE[a:b], v_TKE[a:b]) for a, b in bounds])
        else:
            batch.cache.write(layer, batch.slots, k_TKE, v_TKE)
            out_THE = _cached_attention(q_THE, batch, batch.cache.layer(layer))
        return self.o_proj(out_THE.reshape(x.shape[0], -1), batch.adapter_rows)


def _cached_attention(q_THE: Tensor, batch: ForwardBatch, pages: LayerPages) -> Tensor:
    """(T, H, E): every row over its own pages, those of one new token together."""
    if batch.decoding is not None and not batch.chunks:
        _, tables, lengths = batch.decoding
        return decode_attention(q_THE, pages, tables, lengths)
    out_THE = torch.empty_like(q_THE)
    if batch.decoding is not None:
        where, tables, lengths = batch.decoding
        out_THE[where] = decode_attention(q_THE[where], pages, tables, lengths)
    for where, table, length in batch.chunks:
        out_THE[where] = chunk_attention(q_THE[where], pages, table, length)
    return out_THE


class MLP(nn.Module):
    """SwiGLU: down(up * silu(gate)), gate first in the fused projection."""

    def __init__(self, config: TextConfig, adapters: Adapters) -> None:
        super().__init__()
        self.gate_up_proj = LoRALinear(config.hidden_size, 2 * config.intermediate_size, adapters)
        self.down_proj = LoRALinear(config.intermediate_size, config.hidden_size, adapters)

    def forward(self, x: Tensor, batch: ForwardBatch) -> Tensor:
        """x (T, D) -> (T, D)."""
        return self.down_proj(swiglu(self.gate_up_proj(x, batch.adapter_rows)), batch.adapter_rows)


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

    def weights(self, pages: LayerPages) -> LayerWeights:
        """What C runs this layer with."""
        attention, mlp = self.self_attn, self.mlp
        return LayerWeights(
            norm1=self.input_layernorm.weight,
            norm2=self.post_attention_layernorm.weight,
            qkv=attention.qkv_proj.weights(),
            o=attention.o_proj.weights(),
            gate_up=mlp.gate_up_proj.weights(),
            down=mlp.down_proj.weights(),
            pages=pages,
        )


class TextDecoder(nn.Module):
    """Token ids and media rows in, logits out."""

    def __init__(self, config: TextConfig, adapters: Adapters) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config, adapters) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self._rotary = Rotary(config.rope)
        self._config, self._adapters = config, tuple(adapters)

    def forward(self, batch: ForwardBatch) -> Tensor:
        """Logits (K, V) at `batch.outputs`, in the model's dtype. Writes to the rows' pages."""
        x = self.embed_tokens(batch.ids)
        if batch.media is not None:
            assert batch.media_index is not None and len(batch.media) == len(batch.media_index), (
                f"{len(batch.media)} encoder rows for {batch.media_index} placeholders"
            )
            x = x.index_copy(0, batch.media_index, batch.media.to(x.dtype))
        cos, sin = self._rotary(batch.positions, batch.long, x.dtype)
        x = self._run_layers(x, batch, cos, sin)
        return linear(self.norm(x[batch.outputs]), self.embed_tokens.weight)

    def _run_layers(self, x: Tensor, batch: ForwardBatch, cos: Tensor, sin: Tensor) -> Tensor:
        in_c = batch.layers_in_c
        if in_c is not None and batch.decoding is not None and not batch.chunks and len(x) <= in_c.most_rows:
            _, tables, lengths = batch.decoding
            runs = [(self._adapters.index(name), first, last) for name, first, last in batch.adapter_runs]
            return in_c(x, cos, sin, batch.slots, tables, lengths, runs)
        for n, layer in enumerate(self.layers):
            x = layer(x, batch, cos, sin, n)
        return x

    def layers_in_c(self, cache: PagedCache) -> LayersInC | None:
        """The layers over the pages of `cache` in one call of C; None where it cannot run them.

        Weights that are put in place of others afterwards are not seen.
        """
        config = self._config
        shape = LayersShape(
            config.num_heads, config.num_kv_heads, config.head_dim, config.rope.rotary_dim, config.rms_norm_eps
        )
        layers = [layer for layer in self.layers if isinstance(layer, DecoderLayer)]
        return layers_in_c([layer.weights(cache.layer(n)) for n, layer in enumerate(layers)], shape)
