"""A checkpoint into a model, tensor by tensor: at its peak memory holds the model and one tensor more."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor, nn

from phi4mm.checkpoint.contents import Contents, read_contents, skeleton
from phi4mm.checkpoint.shards import read_into
from phi4mm.config import ADAPTER_FOLDERS
from phi4mm.errors import CheckpointError
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.prompt import Adapter


def load_model(
    folder: Path,
    *,
    device: str | torch.device,
    dtype: torch.dtype,
    modalities: tuple[Adapter, ...] = ("vision", "speech"),
) -> Phi4MM:
    """The model in `folder`, in either layout, for inference: in eval mode, no parameter asks for gradients.

    modalities  the adapters wanted; the towers and adapters of the others are neither allocated nor read
    raises      ConfigError, CheckpointError; the whole folder is checked before the first weight is read
    """
    contents = read_contents(folder)
    _require_adapters(contents, modalities)
    model = skeleton(contents.config, modalities)
    wanted = {name: contents.tensors[name] for name in model.state_dict()}
    in_file_order = sorted(wanted.items(), key=lambda item: (item[1].path, item[1].start))
    for path, tensors in groupby(in_file_order, key=lambda item: item[1].path):
        with path.open("rb", buffering=0) as file:
            for name, stored in tensors:
                tensor = torch.empty(stored.shape, dtype=stored.dtype)
                read_into(file, stored, tensor)
                _assign(model, name, tensor.to(device, dtype))
    return model.eval()


def _require_adapters(contents: Contents, modalities: tuple[Adapter, ...]) -> None:
    present = {"vision": contents.config.vision_lora, "speech": contents.config.speech_lora}
    for adapter in modalities:
        if present[adapter] is None:
            raise CheckpointError(
                f"{contents.folder} has no {ADAPTER_FOLDERS[adapter]} folder, which {adapter} input needs; "
                "add it, or load other modalities"
            )


def _assign(model: Phi4MM, name: str, tensor: Tensor) -> None:
    """Put `tensor` in the place of the parameter or buffer called `name`, without a copy."""
    parent, _, leaf = name.rpartition(".")
    module = model.get_submodule(parent)
    if leaf in dict(module.named_buffers(recurse=False)):
        setattr(module, leaf, tensor)
    else:
        setattr(module, leaf, nn.Parameter(tensor, requires_grad=False))
