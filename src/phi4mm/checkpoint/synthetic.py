"""Synthetic checkpoints: each value is computed from the tensor's published name and the value's index.

All machines get the same float32 bits, so numbers recorded on one can be checked on any other.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch

from phi4mm.checkpoint.contents import skeleton
from phi4mm.checkpoint.keys import stored_name
from phi4mm.checkpoint.save import write_checkpoint
from phi4mm.checkpoint.shards import TensorSource
from phi4mm.config.engine import DTYPES
from phi4mm.config.model import Layout
from phi4mm.config.original import from_original
from phi4mm.errors import ConfigError

F32 = npt.NDArray[np.float32]
BLOCK = 1 << 16  # elements computed at a time, so that they stay in a core's cache
_NORMS = ("layernorm", "layer_norm", "norm1", "norm2")
_WIDE = ("sub_GN", "glb_GN", "head.probe", "position_embedding.weight", "embed_tokens.weight")


def uniform(name: str, shape: tuple[int, ...]) -> F32:
    """float32 numbers in [-1, 1). Each depends only on `name` and its index."""
    return np.concatenate(list(_uniform_blocks(name, math.prod(shape)))).reshape(shape)


def tensor(name: str, shape: tuple[int, ...]) -> F32:
    """The tensor called `name` in the original layout, float32; it is scaled so that activations are of order one."""
    return np.concatenate(list(_blocks(name, shape))).reshape(shape)


def write_synthetic(
    config: dict[str, Any], folder: Path, *, layout: Layout = "original", dtype: str = "float32"
) -> None:
    """Write the synthetic checkpoint of `config`, a config.json of the original layout, to the new `folder`.

    Needs a few hundred kilobytes of memory, whatever the sizes. Raises ConfigError, CheckpointError.
    """
    if dtype not in DTYPES or dtype == "auto":
        raise ConfigError(f"dtype is {dtype!r}; expected float32, bfloat16 or float16")
    parsed = from_original(config)
    names = {name: tuple(value.shape) for name, value in skeleton(parsed).state_dict().items()}
    tensors = {
        name: _source(stored_name(name, "original").name, shape, getattr(torch, dtype)) for name, shape in names.items()
    }
    write_checkpoint(parsed, tensors, folder, form=layout)


def _source(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> TensorSource:
    def write(file: BinaryIO) -> None:
        for block in _blocks(name, shape):
            file.write(torch.from_numpy(block).to(dtype).view(torch.uint8).numpy().tobytes())

    return TensorSource(dtype, shape, write)


def _blocks(name: str, shape: tuple[int, ...]) -> Iterator[F32]:
    """The flat values of a tensor, BLOCK at a time: offset + scale * u, in float32 steps."""
    offset, scale = _offset_and_scale(name, shape)
    for u in _uniform_blocks(name, math.prod(shape)):
        u *= scale
        yield u if offset == 0 else u + offset


def _uniform_blocks(name: str, count: int) -> Iterator[F32]:
    key = np.uint64(zlib.crc32(name.encode()) << 32)
    for start in range(0, count, BLOCK):
        yield _splitmix(np.arange(start, min(start + BLOCK, count), dtype=np.uint64) + key)


def _splitmix(state: npt.NDArray[np.uint64]) -> F32:
    """splitmix64 of each state, which it overwrites: the top 24 bits as float32 in [-1, 1)."""
    scratch = np.empty_like(state)
    state += np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        np.right_shift(state, np.uint64(shift), out=scratch)
        state ^= scratch
        state *= np.uint64(factor)
    np.right_shift(state, np.uint64(31), out=scratch)
    state ^= scratch
    state >>= np.uint64(40)
    u = state.view(np.int64).astype(np.float32)  # signed integers convert twice as fast, and 24 bits are never negative
    u *= np.float32(2.0**-23)  # exact, as is the next step
    u -= np.float32(1)
    return u


def _offset_and_scale(name: str, shape: tuple[int, ...]) -> tuple[np.float32, np.float32]:
    leaf = name.rsplit(".", 1)[-1]
    if name.endswith("global_mean"):
        offset, scale = 13.0, 1.0
    elif name.endswith("global_invstd"):
        offset, scale = 0.25, 0.02
    elif any(norm in name for norm in _NORMS) or name == "model.norm.weight":
        offset, scale = float(leaf == "weight"), 0.1
    elif leaf == "bias" or name.endswith(("glu.b1", "glu.b2", "in_proj_bias")):
        offset, scale = 0.0, 0.1
    elif name.endswith(_WIDE):
        offset, scale = 0.0, 1.0
    elif name.endswith("bias_values.weight"):
        offset, scale = 0.0, 2.0
    else:
        offset, scale = 0.0, math.sqrt(3.0 / math.prod(shape[1:]))
    return np.float32(offset), np.float32(scale)
