"""Safetensors files that are damaged, hostile, sharded or linked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from phi4mm.checkpoint import shards
from phi4mm.checkpoint.shards import read_header, stored_tensors, tensor_source, write_file, write_shards
from phi4mm.errors import CheckpointError
from tests.checkpoint.small import Header, rewrite_header


def write_two(folder: Path) -> Path:
    """Write `a`, 4 float32 in bytes 0..16, and `b`, 2 x 3 bfloat16 in bytes 16..28."""
    tensors = {"a": torch.arange(4.0), "b": torch.ones(2, 3, dtype=torch.bfloat16)}
    folder.mkdir(exist_ok=True)
    write_file(folder / "model.safetensors", {name: tensor_source(tensor) for name, tensor in tensors.items()})
    return folder / "model.safetensors"


def changed(**fields: Any) -> Callable[[Header], Header]:
    """A change of the header: other `fields` in the entry of `b`."""
    return lambda header: header | {"b": header["b"] | fields}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(data_offsets=[12, 24]), "b begins at byte .*; expected .*, no gap or overlap"),
        (changed(data_offsets=[20, 32]), "b begins at byte .*; expected .*, no gap or overlap"),
        (changed(data_offsets=[16, 29]), r"b needs 12 bytes; its data_offsets are \[16, 29\]"),
        (changed(data_offsets=[28, 16]), "b needs 12 bytes"),
        (changed(data_offsets=[16]), "b needs 12 bytes"),
        (changed(data_offsets="all"), "b needs 12 bytes"),
        (changed(shape=[2, -3]), r"b has shape \[2, -3\]; expected at most 8 whole numbers"),
        (changed(shape=[2, 3.0]), "b has shape"),
        (changed(shape=[True] * 9), "b has shape"),
        (changed(shape=[2**40, 2**40], data_offsets=[16, 28]), "b needs .* bytes; its data_offsets"),
        (changed(shape=[2**70]), "b has shape"),
        (changed(dtype="I64"), "b has dtype 'I64'; expected one of F32, BF16, F16"),
        (changed(extra=1), "b is .*; expected dtype, shape and data_offsets"),
        (lambda header: header | {"b": None}, "b is None; expected dtype, shape and data_offsets"),
        (lambda header: {"a": header["a"]}, "has .* bytes and its header lists .*; it is damaged"),
        (lambda header: [header], "has a header of list; expected a JSON object"),
    ],
)
def test_a_header_that_does_not_match_its_file_is_refused(
    change: Callable[[Header], Header], message: str, tmp_path: Path
) -> None:
    """Bytes of other tensors must not be read, nor memory allocated that a hostile header asks for."""
    path = write_two(tmp_path)
    rewrite_header(path, change)
    with pytest.raises(CheckpointError, match=message):
        read_header(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "claims a header of 0 bytes and has 0 in all"),
        (b"\x05", "claims a header of 5 bytes and has 1 in all"),
        (b"\xff" * 8 + b"{}", "claims a header of 18446744073709551615 bytes"),
        (b"\x08" + b"\x00" * 7 + b"not json", "header that is no JSON"),
        (b"\x02" + b"\x00" * 7 + b"\xff\xfe", "header that is no JSON"),
        (b"\xa0\x86\x01" + b"\x00" * 5 + b"[" * 100_000, "header that is no JSON"),
    ],
)
def test_a_file_that_is_not_safetensors_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    """A random header length must not give a crash or gigabytes of memory."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_header(path)


def test_a_truncated_file_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    """The missing end of an incomplete download must not be read as zeros."""
    path = write_two(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"its header lists .*; it is damaged, fetch it again"):
        read_header(path)


def sharded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Write three tensors to two shards of at most 40 bytes."""
    monkeypatch.setattr(shards, "SHARD_BYTES", 40)
    tensors = {"a": torch.arange(6.0), "b": torch.arange(4.0), "c": torch.arange(9.0)}
    folder.mkdir()
    write_shards(folder, {name: tensor_source(tensor) for name, tensor in tensors.items()})
    return tensors


def test_shards_and_their_index_list_every_tensor_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other programs read checkpoints over 5 GB by this index."""
    tensors = sharded(tmp_path / "model", monkeypatch)
    index = json.loads((tmp_path / "model" / "model.safetensors.index.json").read_text())
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    assert index == {"metadata": {"total_size": 76}, "weight_map": {"a": first, "b": first, "c": second}}
    found = stored_tensors(tmp_path / "model")
    assert {name: stored.shape for name, stored in found.items()} == {name: t.shape for name, t in tensors.items()}


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": "../model.safetensors"}, r"names the shard '\.\./model\.safetensors'; expected a \.safetensors file"),
        ({"a": "/etc/passwd"}, "names the shard '/etc/passwd'"),
        ({"a": "model.bin"}, "names the shard 'model.bin'"),
        ({"a": 3}, "names the shard 3"),
        ({}, "has no weight_map"),
        ({"a": "model-00009-of-00002.safetensors"}, "model-00009-of-00002.safetensors not found"),
        (
            {"a": "model-00002-of-00002.safetensors", "x": "model-00002-of-00002.safetensors"},
            "c is in model-00002-of-00002.safetensors; the index has it in none\n"
            "  a is not in model-00002-of-00002.safetensors, where the index has it\n"
            "  x is not in",
        ),
    ],
)
def test_an_index_that_does_not_match_its_shards_is_refused(
    weight_map: dict[str, object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file outside the folder may be read, and a swapped or missing shard must be found."""
    sharded(tmp_path / "model", monkeypatch)
    (tmp_path / "model" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(CheckpointError, match=message):
        stored_tensors(tmp_path / "model")


def test_a_link_may_point_only_into_the_hub_cache(tmp_path: Path) -> None:
    """A model folder must not make phi4mm open any file of the machine; the cache consists of links."""
    weights = write_two(tmp_path / "elsewhere")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").symlink_to(weights)
    with pytest.raises(CheckpointError, match=r"is a link to .*, outside the model's folder"):
        stored_tensors(tmp_path / "model")
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    (snapshot / "vision-lora").mkdir(parents=True)
    shutil.copytree(tmp_path / "elsewhere", tmp_path / "models--a--b" / "blobs")
    (snapshot / "model.safetensors").symlink_to("../../blobs/model.safetensors")
    (snapshot / "vision-lora" / "adapter_model.safetensors").symlink_to("../../../blobs/model.safetensors")
    assert set(stored_tensors(snapshot)) == {"a", "b"}
    assert set(stored_tensors(snapshot / "vision-lora", "adapter_model")) == {"a", "b"}
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to(weights)
    with pytest.raises(CheckpointError, match="outside the model's folder"):
        stored_tensors(snapshot)


def test_pickles_are_refused_with_the_reason(tmp_path: Path) -> None:
    """They can run code; for a folder of pickles, "not found" would not say enough."""
    with pytest.raises(CheckpointError, match=r"model\.safetensors not found; expected safetensors weights"):
        stored_tensors(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(
        CheckpointError, match=r"holds pytorch_model\.bin; phi4mm never opens pickles, which can run code"
    ):
        stored_tensors(tmp_path)
