"""The image tower, and the assembly of its features into media embeddings (`hd_transform` in the published code).

C crops (the global view first), P patches along a crop's side, X pixels along it, W tower width, D model width.
"""

from __future__ import annotations

import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from phi4mm.config.model import VisionConfig
from phi4mm.kernels.precision import compute_dtype, upcast_module

LAYER_NORM_EPS = 1e-6
FEATURE_LAYER = -2  # features are the output of the last layer but one, without the final norm
CROPS_AT_ONCE = 4  # bounds the activations of a 36-crop image; results do not depend on it


class Attention(nn.Module):
    """Bidirectional attention. A padded patch is masked as a key, and gives zero as a query, as in flash attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x (C, P*P, W), mask (C, P*P) bool or None when every patch is valid -> (C, P*P, W)."""
        crops, patches, width = x.shape
        q, k, v = (
            proj(x).view(crops, patches, self._heads, -1).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        keys = None if mask is None else mask[:, None, None]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=keys).transpose(1, 2).reshape(crops, patches, width)
        return self.out_proj(out if mask is None else out * mask[..., None])


class MLP(nn.Module):
    """Two layers with tanh-GELU."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., W) -> (..., W)."""
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class EncoderLayer(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, LAYER_NORM_EPS)
        self.self_attn = Attention(config.hidden_size, config.num_heads)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, LAYER_NORM_EPS)
        self.mlp = MLP(config.hidden_size, config.intermediate_size)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x (C, P*P, W) -> (C, P*P, W)."""
        x = x + self.self_attn(self.layer_norm1(x), mask)
        return x + self.mlp(self.layer_norm2(x))


class PackedAttention(nn.Module):
    """The pooling head's attention: weights only, never run."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)


class PoolingHead(nn.Module):
    """SigLIP's pooling head. It is in the published checkpoint, and no forward pass uses it."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.empty(1, 1, config.hidden_size))
        self.attention = PackedAttention(config.hidden_size)
        self.layernorm = nn.LayerNorm(config.hidden_size, LAYER_NORM_EPS)
        self.mlp = MLP(config.hidden_size, config.intermediate_size)


class Tower(nn.Module):
    """SigLIP NaViT: crops in, patch features out. The last layer, the final norm and the head are never run."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        side, patch, width = config.patches_per_side, config.patch_size, config.hidden_size
        self._side = side
        self.patch_embedding = nn.Conv2d(3, width, patch, stride=patch)
        self.position_embedding = nn.Embedding(side * side, width)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_layers))
        self.post_layernorm = nn.LayerNorm(width, LAYER_NORM_EPS)
        self.head = PoolingHead(config)

    def forward(self, pixels: Tensor, mask: Tensor) -> Tensor:
        """pixels (C, 3, X, X), mask (C, P, P) bool -> (C, P*P, W)."""
        x = self._embed_patches(pixels)
        x = x + self.position_embedding(self._position_ids(mask)).to(x.dtype)
        flat = mask.flatten(1)
        keys = None if bool(flat.all()) else flat
        for layer in self.layers[: FEATURE_LAYER + 1]:
            x = upcast_module(layer)(x, keys)
        return x

    def _embed_patches(self, pixels: Tensor) -> Tensor:
        """The patch convolution as one matrix product, since patches do not overlap."""
        crops, patch = pixels.shape[0], self.patch_embedding.kernel_size[0]
        dtype = compute_dtype(self.patch_embedding.weight)
        patches = pixels.view(crops, 3, self._side, patch, self._side, patch).permute(0, 2, 4, 1, 3, 5)
        patches = patches.reshape(crops, self._side**2, -1).to(dtype)
        weight, bias = self.patch_embedding.weight.flatten(1), self.patch_embedding.bias
        return F.linear(patches, weight.to(dtype), None if bias is None else bias.to(dtype))

    def _position_ids(self, mask: Tensor) -> Tensor:
        """(C, P*P) int64: along each axis, valid patches are stretched over the whole grid; padding gets position 0."""
        index = torch.arange(self._side, device=mask.device)
        valid_rows = mask[:, :, 0].sum(1, keepdim=True).clamp(min=1)
        valid_columns = mask[:, 0, :].sum(1, keepdim=True).clamp(min=1)
        rows = (self._side * index // valid_rows)[:, :, None]
        columns = (self._side * index // valid_columns)[:, None, :]
        return torch.where(mask, rows * self._side + columns, 0).flatten(1)


class ImageEmbedder(nn.Module):
    """Tower, 2x2 pooling, separators and projection: one image in, its media embeddings out."""

    def __init__(self, config: VisionConfig, width: int) -> None:
        super().__init__()
        self._side = config.patches_per_side
        self.tower = Tower(config)
        self.row_separator = nn.Parameter(torch.empty(1, 1, 1, config.hidden_size))
        self.global_separator = nn.Parameter(torch.empty(1, 1, config.hidden_size))
        self.projection = nn.Sequential(nn.Linear(config.hidden_size, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, pixels: Tensor, mask: Tensor, grids: list[tuple[int, int]]) -> list[Tensor]:
        """Encode images together.

        pixels   (C, 3, X, X) crops of all images end to end, mask (C, P, P) bool
        grids    (rows, columns) of crops of each image; C is the sum of 1 + rows * columns
        returns  one (tokens, D) tensor for each image: rows of the crops, the separator, rows of the global view
        """
        crops = [1 + rows * columns for rows, columns in grids]
        parts = zip(self._features(pixels, mask).split(crops), mask.split(crops), grids, strict=True)
        assembled = [self._assemble(features, valid, grid) for features, valid, grid in parts]
        return list(upcast_module(self.projection)(torch.cat(assembled)).split([len(a) for a in assembled]))

    def _features(self, pixels: Tensor, mask: Tensor) -> Tensor:
        """(C, P/2, P/2, W) pooled features. Equal crops are encoded once."""
        distinct, which = distinct_crops(pixels, mask)
        # Indexed a few crops at a time: all distinct crops at once would be a second copy of the pixels.
        parts = [distinct[n : n + CROPS_AT_ONCE] for n in range(0, len(distinct), CROPS_AT_ONCE)]
        return torch.cat([self._pooled(pixels[part], mask[part]) for part in parts])[which]

    def _pooled(self, pixels: Tensor, mask: Tensor) -> Tensor:
        """(C, P/2, P/2, W): features averaged over 2x2 patches, padded ones included."""
        features = self.tower(pixels, mask).unflatten(1, (self._side, self._side))
        return F.avg_pool2d(features.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)

    def _assemble(self, features: Tensor, mask: Tensor, grid: tuple[int, int]) -> Tensor:
        """features (1 + rows*columns, P/2, P/2, W), mask (1 + rows*columns, P, P) -> (tokens, W)."""
        rows, columns = grid
        half = self._side // 2
        canvas = (
            features[1:].view(rows, columns, half, half, -1).transpose(1, 2).reshape(rows * half, columns * half, -1)
        )
        valid = mask[1:, ::2, ::2].reshape(rows, columns, half, half).transpose(1, 2).reshape(rows * half, -1)
        canvas = canvas[: int(valid[:, 0].sum()), : int(valid[0].sum())]
        separator = self.global_separator[0].to(features.dtype)
        return torch.cat([self._with_row_separators(canvas), separator, self._with_row_separators(features[0])])

    def _with_row_separators(self, features: Tensor) -> Tensor:
        """(rows, columns, W) -> (rows * (columns + 1), W): the row separator is appended to each row."""
        separators = self.row_separator[0].to(features.dtype).expand(features.shape[0], 1, -1)
        return torch.cat([features, separators], dim=1).flatten(0, 1)


def distinct_crops(pixels: Tensor, mask: Tensor) -> tuple[list[int], list[int]]:
    """Indices of the crops that differ from all before them, and for each crop its index among those.

    Equal crops are common: the global view of a small square image equals its only crop, and white crops are all equal.
    """
    number: dict[bytes, int] = {}
    distinct, which = [], []
    bytes_of = (x.detach().cpu().contiguous().flatten(1).view(torch.uint8).numpy() for x in (pixels, mask))
    for n, (crop, valid) in enumerate(zip(*bytes_of, strict=True)):
        digest = hashlib.sha256(crop).digest() + valid.tobytes()
        if digest not in number:
            number[digest] = len(number)
            distinct.append(n)
        which.append(number[digest])
    return distinct, which
