"""Quantize a checkpoint folder, one weight at a time. If that fails, no folder is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from phi4mm.checkpoint.contents import Contents, read_contents, skeleton
from phi4mm.checkpoint.save import copy_companions, whole_folder, write_json
from phi4mm.checkpoint.scheme import FILE, scheme_file
from phi4mm.checkpoint.shards import StoredTensor, TensorSource, read_tensor, stored_source, tensor_source, write_shards
from phi4mm.config.engine import Quantization
from phi4mm.config.original import to_original
from phi4mm.errors import ConfigError
from phi4mm.kernels.rounding import empty_weight, pack_weight
from phi4mm.quantization.quantize import Plan, weight_bits

Progress = Callable[[int, int], object]


def quantize_folder(source: Path, folder: Path, *, scheme: Quantization, progress: Progress | None = None) -> None:
    """Quantize the checkpoint `source` into the new `folder`, with one weight in memory at a time.

    progress  called with the number of tensors written so far and the number of all
    raises    ConfigError if `source` is quantized or lacks an adapter, or `folder` is not empty; CheckpointError
    """
    contents = read_contents(source)
    config = replace(contents.config, layout="original")
    if contents.scheme is not None:
        raise ConfigError(f"{source} is quantized already, in {contents.scheme}; give the checkpoint it was made from")
    if config.vision_lora is None or config.speech_lora is None:
        raise ConfigError(f"{source} lacks an adapter; a quantized folder needs both, give a checkpoint with both")
    tensors = dict(_sources(contents, scheme))
    if progress is not None:
        tensors = {
            name: _reported(tensor, progress, done, len(tensors))
            for done, (name, tensor) in enumerate(tensors.items(), 1)
        }
    with whole_folder(folder) as out:
        write_json(out / "config.json", to_original(config))
        write_json(out / FILE, scheme_file(scheme))
        write_shards(out, tensors)
        copy_companions(source, out)


def _sources(contents: Contents, scheme: Quantization) -> Iterator[tuple[str, TensorSource]]:
    """Packed weights come first, because their sizes keep them aligned in the file, which is memory-mapped."""
    plan = weight_bits(skeleton(contents.config), scheme)
    for name in plan:
        yield from _packed_sources(name, contents.tensors[name], plan)
    for name, stored in contents.tensors.items():
        if name not in plan:
            yield name, stored_source(stored, stored.dtype)


def _packed_sources(name: str, stored: StoredTensor, plan: Plan) -> Iterator[tuple[str, TensorSource]]:
    """Codes and scales of one weight. It is packed when the codes are written; the scales are written next."""
    empty = empty_weight(torch.empty(stored.shape, device="meta"), plan[name], device="meta")
    scales: list[Tensor] = []

    def write_codes(file: BinaryIO) -> object:
        packed = pack_weight(read_tensor(stored), plan[name])
        scales.append(packed.scales)
        return tensor_source(packed.codes).write(file)

    def write_scales(file: BinaryIO) -> object:
        return tensor_source(scales.pop()).write(file)

    yield f"{name}.codes", TensorSource(torch.uint8, tuple(empty.codes.shape), write_codes)
    yield f"{name}.scales", TensorSource(torch.bfloat16, tuple(empty.scales.shape), write_scales)


def _reported(source: TensorSource, progress: Progress, done: int, total: int) -> TensorSource:
    def write(file: BinaryIO) -> None:
        source.write(file)
        progress(done, total)

    return replace(source, write=write)
