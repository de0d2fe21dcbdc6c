"""The audio encoder: convolutional subsampling tiled over time, conformer blocks, and the two projections.

A clips, F mel frames, Y mel bins, S tokens of one clip (8 frames each), W encoder width, D model width, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from phi4mm.config.model import CONV_STRIDE, AudioConfig
from phi4mm.kernels.precision import compute_dtype, upcast_module
from phi4mm.protocol.inputs import AudioProjection

ATTENTION_WINDOW = 500  # tokens; a longer clip is split into such windows, which do not attend to each other
WINDOWS_AT_ONCE = 8  # bounds the activations of a long clip; results do not depend on it
TILE = 32  # tokens subsampled at a time, to stay in the processor's cache: 160 K numbers a token after one convolution
HALO = 1  # tokens of context on each side: token t depends on frames 8t-7 .. 8t+7


class Subsampling(nn.Module):
    """Three stride-2 convolutions and a linear layer: 8 frames become one token, tile by tile."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        channels = config.conv_channels
        self.conv = nn.ModuleDict(
            {
                "0": nn.Conv2d(1, channels, 3, 2, 1),
                "2": nn.Conv2d(channels, channels, 3, 2, 1, groups=channels),
                "3": nn.Conv2d(channels, channels, 1),
                "5": nn.Conv2d(channels, channels, 3, 2, 1, groups=channels),
                "6": nn.Conv2d(channels, channels, 1),
            }
        )
        self.out = nn.Linear(channels * (config.input_size // CONV_STRIDE), config.hidden_size)

    def forward(self, x: Tensor, frames: Tensor) -> Tensor:
        """x (A, F, Y) normalised and zero past each clip's end, frames (A,) int64 -> (A, ceil(F/8), W)."""
        tokens = -(-x.shape[1] // CONV_STRIDE)
        if tokens <= TILE + 2 * HALO:
            return self._tile(x, frames)
        tiles = []
        for start in range(0, tokens, TILE):
            first, last = max(start - HALO, 0), min(start + TILE + HALO, tokens)
            tile = x[:, first * CONV_STRIDE : last * CONV_STRIDE]
            tiles.append(self._tile(tile, frames - first * CONV_STRIDE)[:, start - first :][:, :TILE])
        return torch.cat(tiles, dim=1)

    def _tile(self, x: Tensor, frames: Tensor) -> Tensor:
        x = F.relu(self.conv["0"](x[:, None]), inplace=True)
        x = _zero_padding(x, -(-frames // 2))
        x = F.relu(self.conv["3"](self.conv["2"](x)), inplace=True)
        x = _zero_padding(x, -(-frames // 4))
        x = F.relu(self.conv["6"](self.conv["5"](x)), inplace=True)
        return self.out(x.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """LayerNorm, then down(up * swish(gate)); the second half of the fused projection is the gate."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.hidden_size)
        self.up_gate_proj = nn.Linear(config.hidden_size, 2 * config.intermediate_size)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., W) -> (..., W)."""
        up, gate = self.up_gate_proj(self.layer_norm(x)).chunk(2, dim=-1)
        return self.down_proj(up * F.silu(gate))


class SelfAttention(nn.Module):
    """Bidirectional attention with a bias added to the scores."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self._heads = config.num_heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.o_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x (A, S, W), bias (A or 1, H, S, S) with -inf at padded keys -> (A, S, W)."""
        clips, tokens, width = x.shape
        q, k, v = (
            proj(x).view(clips, tokens, self._heads, -1).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.o_proj(out.transpose(1, 2).reshape(clips, tokens, width))


class Convolution(nn.Module):
    """LayerNorm, gated pointwise, causal depthwise, two pointwise layers."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self._past = config.kernel_size - 1
        self.layer_norm = nn.LayerNorm(width)
        self.gate_conv = nn.Conv1d(width, 2 * width, 1)
        self.gate_b1 = nn.Parameter(torch.zeros(1, width, 1))
        self.gate_b2 = nn.Parameter(torch.zeros(1, width, 1))
        self.depthwise = nn.Conv1d(width, width, config.kernel_size, groups=width)
        self.pointwise = nn.Conv1d(width, width, 1)
        self.out_conv = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x (A, S, W) -> (A, S, W); token t depends on tokens t - kernel + 1 .. t."""
        x, gate = _pointwise(self.gate_conv, self.layer_norm(x)).chunk(2, dim=-1)
        x = (x + self.gate_b1.view(-1)) * F.silu(gate + self.gate_b2.view(-1))
        x = self.depthwise(F.pad(x.transpose(1, 2), (self._past, 0))).transpose(1, 2)
        return _pointwise(self.out_conv, F.silu(_pointwise(self.pointwise, x)))


class ConformerBlock(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, norm."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.feed_forward_in = FeedForward(config)
        self.layer_norm_att = nn.LayerNorm(config.hidden_size)
        self.self_attn = SelfAttention(config)
        self.conv = Convolution(config)
        self.feed_forward_out = FeedForward(config)
        self.layer_norm = nn.LayerNorm(config.hidden_size)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x (A, S, W), bias (A or 1, H, S, S) -> (A, S, W)."""
        x = x + 0.5 * self.feed_forward_in(x)
        x = x + self.self_attn(self.layer_norm_att(x), bias)
        x = x + self.conv(x)
        x = x + 0.5 * self.feed_forward_out(x)
        return self.layer_norm(x)


class AudioEncoder(nn.Module):
    """Log-mel frames in, one vector a token out. A clip's result does not depend on other clips of the batch."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(config.input_size))
        self.register_buffer("invstd", torch.ones(config.input_size))
        self.mean: Tensor
        self.invstd: Tensor
        self._distance = config.bias_max_distance
        self.subsampling = Subsampling(config)
        self.relative_bias = nn.Embedding(2 * config.bias_max_distance, config.num_heads)
        self.blocks = nn.ModuleList(ConformerBlock(config) for _ in range(config.num_blocks))

    def forward(self, features: Tensor, frames: Tensor) -> Tensor:
        """features (A, F, Y) log-mel, zero past each clip's end; frames (A,) int64 on the CPU -> (A, ceil(F/8), W).

        Results past a clip's ceil(frames/8) tokens are undefined.
        """
        dtype = compute_dtype(self.relative_bias.weight)
        x = (features.to(dtype) - self.mean.to(dtype)) * self.invstd.to(dtype)
        valid = torch.arange(x.shape[1])[None] < frames[:, None]
        x = upcast_module(self.subsampling)(x * valid[..., None].to(x.device), frames)
        tokens = -(-frames // CONV_STRIDE)
        if x.shape[1] <= ATTENTION_WINDOW:
            return self._blocks(x, tokens)
        return self._windowed(x, tokens)

    def _windowed(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Long clips: windows of ATTENTION_WINDOW tokens that do not attend to each other.

        The zeros that fill a long clip's last window are attended to, as in the published code for a single clip; a
        clip that fits in one window keeps its padding masked. Each clip gets the result that it gets alone.
        """
        clips, longest, width = x.shape
        x = x * (torch.arange(longest)[None] < tokens[:, None])[..., None].to(x.device)
        windows = -(-longest // ATTENTION_WINDOW)
        x = F.pad(x, (0, 0, 0, windows * ATTENTION_WINDOW - longest)).view(clips * windows, ATTENTION_WINDOW, width)
        lengths = (
            torch.where(tokens > ATTENTION_WINDOW, ATTENTION_WINDOW, tokens)[:, None].expand(clips, windows).flatten()
        )
        x = self._blocks(x, lengths)
        return x.view(clips, windows * ATTENTION_WINDOW, width)[:, :longest]

    def _blocks(self, x: Tensor, tokens: Tensor) -> Tensor:
        """x (A, S, W), tokens (A,) of each that are no padding -> (A, S, W)."""
        bias = self._bias(x.shape[1], x.device).to(x.dtype)
        padded = (torch.arange(x.shape[1])[None] >= tokens[:, None])[:, None, None]
        groups = x.split(WINDOWS_AT_ONCE)
        masks = [
            bias.masked_fill(p.to(x.device), -torch.inf) if bool(p.any()) else bias
            for p in padded.split(WINDOWS_AT_ONCE)
        ]
        for block in self.blocks:
            run = upcast_module(block)
            groups = tuple(run(group, mask) for group, mask in zip(groups, masks, strict=True))
        return torch.cat(groups)

    def _bias(self, tokens: int, device: torch.device) -> Tensor:
        """(1, H, S, S): a learned number for each head and distance key - query, which is clamped to the table."""
        index = torch.arange(tokens, device=device)
        distance = (index[None] - index[:, None]).clamp(-self._distance, self._distance - 1)
        return self.relative_bias(distance + self._distance).permute(2, 0, 1)[None]


class AudioEmbedder(nn.Module):
    """The encoder and its projections: `speech` for audio alone, `vision` for audio in a prompt with an image."""

    def __init__(self, config: AudioConfig, width: int) -> None:
        super().__init__()
        self.encoder = AudioEncoder(config)
        names: tuple[AudioProjection, ...] = get_args(AudioProjection)
        self.projection = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(config.hidden_size, width), nn.GELU(), nn.Linear(width, width))
                for name in names
            }
        )

    def forward(self, features: Tensor, frames: Tensor, projections: Sequence[AudioProjection]) -> list[Tensor]:
        """Encode clips together.

        features     (A, F, Y) log-mel, zero past each clip's end; frames (A,) int64 on the CPU
        projections  which projection each clip takes
        returns      one (ceil(frames/8), D) tensor for each clip
        """
        return self.project(self.encoder(features, frames), frames, projections)

    def project(self, encoded: Tensor, frames: Tensor, projections: Sequence[AudioProjection]) -> list[Tensor]:
        """encoded (A, S, W), the encoder's output -> one (ceil(frames/8), D) tensor for each clip."""
        counts = (-(-frames // CONV_STRIDE)).tolist()
        clips = zip(encoded, counts, projections, strict=True)
        return [upcast_module(self.projection[name])(clip[:count]) for clip, count, name in clips]


def _pointwise(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """A convolution of kernel 1 over (A, S, W), computed as a matrix product."""
    return F.linear(x, conv.weight.squeeze(-1), conv.bias)


def _zero_padding(x: Tensor, lengths: Tensor) -> Tensor:
    """x (A, channels, S, Y) with every step past a clip's end set to zero, as convolution padding is."""
    if bool((lengths >= x.shape[2]).all()):
        return x
    keep = torch.arange(x.shape[2])[None] < lengths[:, None]
    return x * keep[:, None, :, None].to(x.device)
