"""What is in a checkpoint folder, from its configuration and the headers of its files alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from phi4mm.checkpoint.keys import KNOWN_AND_IGNORED, StoredName, stored_name
from phi4mm.checkpoint.scheme import read_scheme
from phi4mm.checkpoint.shards import StoredTensor, stored_tensors
from phi4mm.config.engine import Quantization
from phi4mm.config.load import load_config
from phi4mm.config.model import ADAPTER_FOLDERS, Phi4MMConfig
from phi4mm.config.validate import listed
from phi4mm.errors import CheckpointError, ConfigError
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.model.vision import FEATURE_LAYER
from phi4mm.protocol.inputs import Adapter
from phi4mm.quantization.quantize import make_empty

PEFT_PREFIX = "base_model.model."
# Part of the model -> how the names of its parameters begin. Adapters are in the decoder's layers: see `part_of`.
_PARTS = {
    "image tower": ("image.tower.",),
    "image projection": ("image.",),
    "audio encoder": ("audio.encoder.",),
    "audio projections": ("audio.projection.",),
    "text": ("text.",),
}


@dataclass(frozen=True)
class Contents:
    """A checked checkpoint: it has exactly the tensors that its configuration needs, in their shapes.

    tensors  by phi4mm's parameter names
    buffers  those names of `tensors` that are constants, not parameters
    ignored  names of stored tensors that are known and not needed
    scheme   how the folder is quantized, or None; a packed weight is two tensors, `.codes` and `.scales`
    """

    folder: Path
    config: Phi4MMConfig
    tensors: dict[str, StoredTensor]
    buffers: frozenset[str]
    ignored: tuple[str, ...]
    scheme: Quantization | None


class _WithoutInitialValues(TorchFunctionMode):
    """Skips nn.init, which has no effect on the meta device but imports parts of torch there, which takes a second."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def skeleton(config: Phi4MMConfig, adapters: tuple[Adapter, ...] = ("vision", "speech")) -> Phi4MM:
    """The model with every tensor on the meta device, which takes no memory."""
    with torch.device("meta"), _WithoutInitialValues():
        return Phi4MM(config, adapters)


def read_contents(folder: Path) -> Contents:
    """Check `folder` by its configuration and headers. No weight is read, so NaN among the values is not found.

    raises  ConfigError; CheckpointError that counts missing, unexpected, misshaped and mistyped tensors; 20 are named
    """
    config = load_config(folder)
    scheme = read_scheme(folder)
    stored = _stored_by_adapter(folder, config)
    _check_layers(config, len(stored))
    model = skeleton(config) if scheme is None else make_empty(skeleton(config), scheme)
    found: dict[str, StoredTensor] = {}
    missing: list[str] = []
    misshaped: list[str] = []
    mistyped: list[str] = []
    for name, expected in model.state_dict().items():
        location = stored_name(name, config.layout) if scheme is None else StoredName(name)
        tensor = stored.pop((location.adapter, location.name), None)
        label = _label(location.adapter, location.name)
        if tensor is None:
            missing.append(label)
        elif tensor.shape != expected.shape:
            misshaped.append(f"{label:.100} {tensor.shape}; expected {tuple(expected.shape)}")
        elif not _fits(tensor.dtype, expected.dtype):
            mistyped.append(f"{label} {tensor.dtype}; expected {expected.dtype}".replace("torch.", ""))
        else:
            found[name] = tensor
    ignored = tuple(name for adapter, name in stored if adapter is None and name in KNOWN_AND_IGNORED)
    unexpected = [_label(adapter, name) for adapter, name in stored if name not in ignored]
    _refuse(folder, {"missing": missing, "unexpected": unexpected, "misshaped": misshaped, "mistyped": mistyped})
    return Contents(folder, config, found, frozenset(name for name, _ in model.named_buffers()), ignored, scheme)


def _fits(found: torch.dtype, expected: torch.dtype) -> bool:
    """Whether a stored dtype is allowed: any float where the skeleton has float32, else that of the skeleton."""
    return found == expected or (expected == torch.float32 and found.is_floating_point)


def _stored_by_adapter(folder: Path, config: Phi4MMConfig) -> dict[tuple[Adapter | None, str], StoredTensor]:
    """Every stored tensor by adapter (None if it is not in an adapter folder) and name."""
    stored: dict[tuple[Adapter | None, str], StoredTensor] = {
        (None, name): tensor for name, tensor in stored_tensors(folder).items()
    }
    if config.layout == "transformers":
        adapters: tuple[Adapter, ...] = ("vision", "speech")
        for adapter in adapters:
            inner = folder / ADAPTER_FOLDERS[adapter]
            if inner.is_dir():
                tensors = stored_tensors(inner, "adapter_model")
                stored |= {(adapter, name.removeprefix(PEFT_PREFIX)): tensor for name, tensor in tensors.items()}
    return stored


def _check_layers(config: Phi4MMConfig, tensors: int) -> None:
    """Refuse more layers than there are tensors, of which each has several: modules are built one by one."""
    layers = (config.text.num_layers, config.vision.num_layers, config.audio.num_blocks)
    if sum(layers) > tensors:
        raise ConfigError(
            f"config.json asks for {' + '.join(map(str, layers))} layers (decoder, image tower, audio encoder), and "
            f"the weights are {tensors} tensors; expected the configuration that belongs to them"
        )


def _label(adapter: Adapter | None, name: str) -> str:
    return name if adapter is None else f"{ADAPTER_FOLDERS[adapter]}: {name}"


def _refuse(folder: Path, problems: dict[str, list[str]]) -> None:
    lines = "".join(listed([f"{kind} {line}" for line in found]) for kind, found in problems.items() if found)
    if lines:
        counts = ", ".join(f"{len(found)} {kind}" for kind, found in problems.items() if found)
        raise CheckpointError(
            f"the tensors of {folder} do not fit its config.json ({counts}); expected a whole Phi-4-multimodal "
            "checkpoint:" + lines
        )


def part_of(name: str) -> str:
    """Name of the part of the model that a parameter belongs to."""
    if ".lora_" in name:
        return f"{name.partition('.lora_')[2].split('.')[1]} adapter"
    return next(part for part, prefixes in _PARTS.items() if name.startswith(prefixes))


def is_unused(name: str, config: Phi4MMConfig) -> bool:
    """Whether no forward pass uses a tensor: it comes after the image tower's feature layer."""
    if name.startswith(("image.tower.post_layernorm.", "image.tower.head.")):
        return True
    if not name.startswith("image.tower.layers."):
        return False
    return int(name.split(".")[3]) > config.vision.num_layers + FEATURE_LAYER
