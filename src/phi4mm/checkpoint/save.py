"""Save a model as a checkpoint folder of either layout, or its adapters alone. If that fails, no folder is left."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch

from phi4mm.checkpoint.contents import PEFT_PREFIX, read_contents, skeleton
from phi4mm.checkpoint.hub import METADATA
from phi4mm.checkpoint.keys import stored_name
from phi4mm.checkpoint.shards import TensorSource, stored_source, tensor_source, write_file, write_shards
from phi4mm.config.model import ADAPTER_FOLDERS, Layout, Phi4MMConfig
from phi4mm.config.original import to_original
from phi4mm.config.transformers import to_transformers
from phi4mm.errors import CheckpointError, ConfigError
from phi4mm.model.phi4mm import Phi4MM

Form: TypeAlias = Literal["original", "transformers", "adapters"]
# Copied beside the weights. config.json is not, since it is written; training.json says how a model was trained.
COMPANIONS = (*(pattern for pattern in METADATA if pattern != "config.json"), "training.json")


def save_original(model: Phi4MM, folder: Path, *, source: Path | None = None) -> None:
    """Write the published layout into the new `folder`, with the tokenizer and processing files of `source`.

    raises  ConfigError if `folder` is not empty or the model lacks a part; CheckpointError if writing fails
    """
    write_checkpoint(model.config, _sources(model), folder, form="original", companions=source)


def save_transformers(model: Phi4MM, folder: Path, *, source: Path | None = None) -> None:
    """Write the layout of transformers' class, with adapters in their own folders; otherwise as `save_original`."""
    write_checkpoint(model.config, _sources(model), folder, form="transformers", companions=source)


def save_adapters(model: Phi4MM, folder: Path) -> None:
    """Write the adapters alone, as PEFT does, to `vision-lora` and `speech-lora` in the new `folder`."""
    write_checkpoint(model.config, _sources(model), folder, form="adapters")


def convert(source: Path, folder: Path, *, form: Form, dtype: torch.dtype | None = None) -> None:
    """Convert the checkpoint `source` into the new `folder`, with one tensor in memory at a time.

    form    layout to write, or "adapters" for the adapters alone
    dtype   precision to cast to; None keeps that of each tensor
    raises  ConfigError, CheckpointError
    """
    contents = read_contents(source)
    if contents.scheme is not None:
        raise ConfigError(
            f"{source} is quantized in {contents.scheme}, which cannot be converted;"
            " convert the checkpoint it was made from"
        )
    tensors = {name: stored_source(stored, dtype or stored.dtype) for name, stored in contents.tensors.items()}
    write_checkpoint(contents.config, tensors, folder, form=form, companions=source)


def write_checkpoint(
    config: Phi4MMConfig,
    tensors: Mapping[str, TensorSource],
    folder: Path,
    *,
    form: Form,
    companions: Path | None = None,
) -> None:
    """Write `tensors`, by phi4mm's parameter names, as a checkpoint of a model of `config`."""
    absent = [name for name in skeleton(config).state_dict() if name not in tensors]
    if absent:
        raise ConfigError(f"this model was loaded without {absent[0]} and {len(absent) - 1} more; load all modalities")
    layout: Layout = "original" if form == "original" else "transformers"
    dtype = str(tensors["text.norm.weight"].dtype).removeprefix("torch.")
    config = replace(config, dtype=dtype, layout=layout)
    raw, adapter_files = (to_original(config), {}) if layout == "original" else to_transformers(config)
    weights: dict[str | None, dict[str, TensorSource]] = {None: {}} | {adapter: {} for adapter in adapter_files}
    for name, tensor in tensors.items():
        stored = stored_name(name, layout)
        weights[stored.adapter][stored.name if stored.adapter is None else PEFT_PREFIX + stored.name] = tensor
    with whole_folder(folder) as out:
        if form != "adapters":
            write_json(out / "config.json", raw)
            write_shards(out, weights[None])
            if companions is not None:
                copy_companions(companions, out)
        for adapter, settings in adapter_files.items():
            inner = out / ADAPTER_FOLDERS[adapter]
            inner.mkdir()
            write_json(inner / "adapter_config.json", settings)
            write_file(inner / "adapter_model.safetensors", weights[adapter])


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder. It is renamed to `folder` if the block succeeds, and removed if it raises.

    raises  ConfigError if `folder` exists and is not empty; CheckpointError if it cannot be written
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already and not empty; name a new folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            yield temporary
            temporary.chmod(0o755)
            os.replace(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(f"{folder} could not be written: {error}") from error


def _sources(model: Phi4MM) -> dict[str, TensorSource]:
    state = model.state_dict()
    if any(tensor.dtype == torch.uint8 for tensor in state.values()):
        raise ConfigError("this model is quantized; save the model before quantization, then quantize that folder")
    return {name: tensor_source(tensor) for name, tensor in state.items()}


def save_companions(source: Path, folder: Path) -> None:
    """Copy the tokenizer, processing and training files into `folder`, over older ones. Raises CheckpointError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not folder.samefile(source):
            copy_companions(source, folder)
    except OSError as error:
        raise CheckpointError(f"{folder} could not be written: {error}") from error


def copy_companions(source: Path, out: Path) -> None:
    """Copy the tokenizer, processing and training files of the model folder `source` that are there."""
    for path in sorted({path for pattern in COMPANIONS for path in source.glob(pattern)}):
        if path.is_file():
            shutil.copyfile(path, out / path.name)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write one JSON object."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
