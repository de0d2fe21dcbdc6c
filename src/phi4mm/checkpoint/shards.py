"""Safetensors files: headers are checked, tensors are read and written one at a time.

Weights that are cast or packed are read by byte range, because pages of a memory map would count as memory of this
process. Packed weights can be used as they are in the file, so they can be memory-mapped.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from phi4mm.config.json_file import read_json_as, regular_file_bytes
from phi4mm.config.validate import LFS_HEAD, listed, refuse_lfs_pointer, shown
from phi4mm.errors import CheckpointError

SHARD_BYTES = 5_000_000_000
MAX_HEADER_BYTES = 64 << 20
ALIGNMENT = 64  # of the first tensor in the file, a cache line, for memory maps
MAX_SIZE = 1 << 48  # of any number in a header, so that products stay small
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "U8": torch.uint8}
_DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file, at the bytes from `start` to `start + nbytes`."""

    path: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes they take in the file."""
        return self.elements * self.dtype.itemsize


@dataclass(frozen=True)
class TensorSource:
    """A tensor to be written. `write` writes exactly its bytes at the current position of a file."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    write: Callable[[BinaryIO], object]

    @property
    def nbytes(self) -> int:
        """How many bytes they take in the file."""
        return math.prod(self.shape) * self.dtype.itemsize


def stored_tensors(folder: Path, name: str = "model") -> dict[str, StoredTensor]:
    """Every tensor of `{name}.safetensors`, or of the shards of its index, by name. Only headers are read.

    raises  CheckpointError for a missing, damaged or pickled file, or an index that does not fit its shards
    """
    index = folder / f"{name}.safetensors.index.json"
    if not index.exists():
        return read_header(_inside(folder, folder / f"{name}.safetensors"))
    weight_map = _weight_map(index)
    stored: dict[str, StoredTensor] = {}
    problems: list[str] = []
    for shard in sorted(set(weight_map.values())):
        header = read_header(_inside(folder, folder / shard))
        unexpected = [name for name in header if weight_map.get(name) != shard]
        problems += [f"{name} is in {shard}; the index has it in {weight_map.get(name, 'none')}" for name in unexpected]
        stored |= header
    problems += [
        f"{name} is not in {shard}, where the index has it" for name, shard in weight_map.items() if name not in stored
    ]
    if problems:
        raise CheckpointError(f"{index} does not fit its shards:" + listed(problems))
    return stored


def _weight_map(index: Path) -> dict[str, str]:
    """Tensor name -> shard file name, checked to be in the same folder."""
    content = read_json_as(index, dict, "an index of tensors", CheckpointError, MAX_HEADER_BYTES)
    weight_map = content.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map; expected tensor names and the shard that holds each")
    for shard in weight_map.values():
        if not isinstance(shard, str) or Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise CheckpointError(
                f"{index} names the shard {shown(shard)}; expected a .safetensors file in the same folder"
            )
    return weight_map


def _inside(folder: Path, path: Path) -> Path:
    """`path`, if it is a file in `folder`. Links may not point elsewhere, except to `blobs` of the hub's cache."""
    if not path.is_file():
        pickles = sorted(p.name for p in folder.glob("*") if p.suffix in PICKLES)
        if pickles and not any(folder.glob("*.safetensors")):
            names = ", ".join(pickles[:3])
            raise CheckpointError(
                f"{folder} holds {names}; phi4mm never opens pickles, which can run code: expected safetensors"
            )
        regular_file_bytes(path, "safetensors weights", CheckpointError)
    real = path.resolve()
    allowed = [folder.resolve()]
    if (snapshots := _snapshots(folder)) is not None:
        allowed.append(snapshots.parent / "blobs")
    if not any(real.is_relative_to(root) for root in allowed):
        raise CheckpointError(f"{path} is a link to {real}, outside the model's folder; copy the file into it")
    return path


def _snapshots(folder: Path) -> Path | None:
    """The `snapshots` folder of a hub cache, if `folder` is a snapshot or an adapter folder in one."""
    real = folder.resolve()
    return next((parent for parent in list(real.parents)[:2] if parent.name == "snapshots"), None)


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of one safetensors file. Their positions are checked, no data is read. Raises CheckpointError."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(len(LFS_HEAD))
            refuse_lfs_pointer(str(path), head, CheckpointError)
            length = int.from_bytes(head[:8], "little")
            if not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
                raise CheckpointError(f"{path} claims a header of {length} bytes and has {size} in all; it is damaged")
            file.seek(8)
            header = json.loads(file.read(length))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} has a header that is no JSON ({error}); it is no safetensors file") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} has a header of {type(header).__name__}; expected a JSON object")
    header.pop("__metadata__", None)
    end = 8 + length
    stored = {name: _entry(path, name, entry, end) for name, entry in header.items()}
    for name, tensor in sorted(stored.items(), key=lambda item: (item[1].start, item[1].nbytes)):
        if tensor.start != end:
            raise CheckpointError(
                f"{path}: {name:.100} begins at byte {tensor.start}; expected {end}, no gap or overlap"
            )
        end = tensor.start + tensor.nbytes
    if end != size:
        raise CheckpointError(f"{path} has {size} bytes and its header lists {end}; it is damaged, fetch it again")
    return stored


def _entry(path: Path, name: str, entry: Any, data: int) -> StoredTensor:
    """One entry of a header. Its offsets count from byte `data` of the file."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"{path}: {name:.100} is {entry!r:.80}; expected dtype, shape and data_offsets")
    shape, offsets = entry["shape"], entry["data_offsets"]
    dtype = DTYPES.get(str(entry["dtype"]))
    if dtype is None:
        raise CheckpointError(
            f"{path}: {name:.100} has dtype {entry['dtype']!r:.20}; expected one of {', '.join(DTYPES)}"
        )
    if not _are_sizes(shape) or len(shape) > 8:
        raise CheckpointError(f"{path}: {name:.100} has shape {shape!r:.80}; expected at most 8 whole numbers")
    stored = StoredTensor(path, dtype, tuple(shape), 0)
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != stored.nbytes:
        raise CheckpointError(f"{path}: {name:.100} needs {stored.nbytes} bytes; its data_offsets are {offsets!r:.80}")
    return replace(stored, start=data + offsets[0])


def _are_sizes(value: object) -> bool:
    """Whether `value` is a list of whole numbers from 0 to MAX_SIZE."""
    return isinstance(value, list) and all(type(n) is int and 0 <= n <= MAX_SIZE for n in value)


def read_into(file: BinaryIO, stored: StoredTensor, out: Tensor) -> None:
    """Fill `out`, a contiguous CPU tensor of `stored`'s dtype and shape, from the unbuffered `file`."""
    assert out.dtype == stored.dtype and out.shape == stored.shape and out.is_contiguous() and out.device.type == "cpu"
    view = memoryview(_as_bytes(out))
    file.seek(stored.start)
    while view.nbytes:
        count = file.readinto(view)  # type: ignore[attr-defined]  # one call reads 2 GB at most
        if not count:
            raise CheckpointError(f"{stored.path} ended {view.nbytes} bytes early while it was read")
        view = view[count:]


def read_tensor(stored: StoredTensor) -> Tensor:
    """Read the tensor into new memory."""
    tensor = torch.empty(stored.shape, dtype=stored.dtype)
    with stored.path.open("rb", buffering=0) as file:
        read_into(file, stored, tensor)
    return tensor


def map_file(path: Path) -> Tensor:
    """A memory map of a file as uint8. Pages are read when they are used; changes never reach the file."""
    return torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)


def mapped_tensor(mapped: Tensor, stored: StoredTensor) -> Tensor:
    """A tensor of a mapped file; it is copied only if it is not aligned there."""
    data = mapped[stored.start : stored.start + stored.nbytes]
    if stored.start % stored.dtype.itemsize:
        data = data.clone()
    return data.view(stored.dtype).view(stored.shape)


def tensor_source(tensor: Tensor) -> TensorSource:
    """A source that writes `tensor`, which may be on any device, unchanged."""

    def write(file: BinaryIO) -> object:
        return file.write(_as_bytes(tensor.detach().cpu().contiguous()))

    return TensorSource(tensor.dtype, tuple(tensor.shape), write)


def stored_source(stored: StoredTensor, dtype: torch.dtype) -> TensorSource:
    """A source that reads a tensor from another file and casts it when it is written."""

    def write(file: BinaryIO) -> object:
        return file.write(_as_bytes(read_tensor(stored).to(dtype)))

    return TensorSource(dtype, stored.shape, write)


def _as_bytes(tensor: Tensor) -> Any:
    """The tensor's memory as a NumPy array of bytes, as NumPy has no bfloat16."""
    return tensor.reshape(-1).view(torch.uint8).numpy()


def write_shards(folder: Path, tensors: Mapping[str, TensorSource], *, name: str = "model") -> None:
    """Write `tensors` to `{name}.safetensors` in `folder`, or to shards of at most 5 GB and their index."""
    shards: list[dict[str, TensorSource]] = [{}]
    room = SHARD_BYTES
    for tensor, source in tensors.items():
        if source.nbytes > room and shards[-1]:
            shards.append({})
            room = SHARD_BYTES
        shards[-1][tensor] = source
        room -= source.nbytes
    if len(shards) == 1:
        write_file(folder / f"{name}.safetensors", shards[0])
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file_name = f"{name}-{number:05d}-of-{len(shards):05d}.safetensors"
        write_file(folder / file_name, shard)
        weight_map |= dict.fromkeys(shard, file_name)
    index = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": weight_map}
    (folder / f"{name}.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def write_file(path: Path, tensors: Mapping[str, TensorSource]) -> None:
    """Write one safetensors file, tensor by tensor."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, source in tensors.items():
        offsets = [end, end := end + source.nbytes]
        header[name] = {"dtype": _DTYPE_NAMES[source.dtype], "shape": list(source.shape), "data_offsets": offsets}
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, source in tensors.items():
            before = file.tell()
            source.write(file)
            assert file.tell() - before == source.nbytes, name
