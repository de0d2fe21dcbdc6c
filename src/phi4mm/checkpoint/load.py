"""Load a checkpoint into a model, tensor by tensor: peak memory is the model and one more tensor.

Of quantized folders, the weights that every step uses are read into huge pages. The others are memory-mapped.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor, nn

from phi4mm.checkpoint import huge_pages
from phi4mm.checkpoint.contents import Contents, read_contents, skeleton
from phi4mm.checkpoint.keys import stored_name
from phi4mm.checkpoint.shards import StoredTensor, map_file, mapped_tensor, read_into
from phi4mm.config.engine import Quantization
from phi4mm.config.model import ADAPTER_FOLDERS
from phi4mm.errors import CheckpointError, ConfigError
from phi4mm.kernels.rounding import pack_weight
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.protocol.inputs import Adapter
from phi4mm.quantization.quantize import Plan, make_empty, replace_weight, weight_bits


def load_model(
    folder: Path,
    *,
    device: str | torch.device,
    dtype: torch.dtype,
    modalities: tuple[Adapter, ...] = ("vision", "speech"),
    quantize: Quantization | None = None,
) -> Phi4MM:
    """Load the model in `folder`, of either layout, for inference: in eval mode, without gradients.

    modalities  adapters to load; towers and adapters that only other modalities need are neither allocated nor read
    quantize    pack the weights while they are read; None leaves them as they are stored, quantized or not
    raises      ConfigError, CheckpointError; the whole folder is checked before the first weight is read
    """
    contents = read_contents(folder)
    _require_adapters(contents, modalities)
    if contents.scheme is not None and quantize not in (None, contents.scheme):
        raise ConfigError(
            f"{folder} is quantized in {contents.scheme}; load it without `quantize`, or load the checkpoint it"
            f" was made from in {quantize}"
        )
    model = skeleton(contents.config, modalities).to(dtype)
    if contents.scheme is not None:
        _map_weights(make_empty(model, contents.scheme), contents, torch.device(device))
    else:
        _read_weights(model, contents, torch.device(device), {} if quantize is None else weight_bits(model, quantize))
    return model.eval()


def _map_weights(model: Phi4MM, contents: Contents, device: torch.device) -> None:
    """Load a quantized folder: tensors of the decoder and its adapters are read, those of towers are memory-mapped."""
    expected = model.state_dict()
    for path, tensors in groupby(_in_file_order(contents, expected), key=lambda item: item[1].path):
        mapped = map_file(path)
        with path.open("rb", buffering=0) as file:
            for name, stored in tensors:
                if name.startswith("text."):
                    tensor = huge_pages.empty(stored.shape, stored.dtype)
                    read_into(file, stored, tensor)
                else:
                    tensor = mapped_tensor(mapped, stored)
                _require_finite(tensor, contents, name)
                _assign(model, name, tensor.to(device, expected[name].dtype))


def _read_weights(model: Phi4MM, contents: Contents, device: torch.device, plan: Plan) -> None:
    """Load a folder that is not quantized, and pack the tensors of `plan` as they are read."""
    expected = model.state_dict()
    for path, tensors in groupby(_in_file_order(contents, expected), key=lambda item: item[1].path):
        with path.open("rb", buffering=0) as file:
            for name, stored in tensors:
                tensor = huge_pages.empty(stored.shape, stored.dtype)
                read_into(file, stored, tensor)
                _require_finite(tensor, contents, name)
                if name in plan:
                    replace_weight(model, name, pack_weight(tensor.to(device), plan[name]))
                else:
                    _assign(model, name, tensor.to(device, expected[name].dtype))


def _in_file_order(contents: Contents, names: Iterable[str]) -> list[tuple[str, StoredTensor]]:
    stored = [(name, contents.tensors[name]) for name in names]
    return sorted(stored, key=lambda item: (item[1].path, item[1].start))


def _require_adapters(contents: Contents, modalities: tuple[Adapter, ...]) -> None:
    present = {"vision": contents.config.vision_lora, "speech": contents.config.speech_lora}
    for adapter in modalities:
        if present[adapter] is None:
            raise CheckpointError(
                f"{contents.folder} has no {ADAPTER_FOLDERS[adapter]} folder, which {adapter} input needs; "
                "add it, or load other modalities"
            )


def _require_finite(tensor: Tensor, contents: Contents, name: str) -> None:
    """Raise CheckpointError for NaN and infinite numbers, which would make every answer noise.

    A sum shows both in a twentieth of the time of a test of each number, which follows where the sum is not finite.
    """
    if tensor.is_floating_point() and not tensor.sum().isfinite() and not tensor.isfinite().all():
        stored = name if contents.scheme is not None else stored_name(name, contents.config.layout).name
        wrong = int((~tensor.isfinite()).sum())
        raise CheckpointError(
            f"{contents.folder}: {stored} holds {wrong} NaN or infinite numbers of {tensor.numel()}; expected finite"
            " weights, so fetch the folder again"
        )


def _assign(model: Phi4MM, name: str, tensor: Tensor) -> None:
    """Set the parameter or buffer `name` to `tensor`, without a copy."""
    parent, _, leaf = name.rpartition(".")
    module = model.get_submodule(parent)
    if leaf in dict(module.named_buffers(recurse=False)):
        setattr(module, leaf, tensor)
    else:
        setattr(module, leaf, nn.Parameter(tensor, requires_grad=False))
