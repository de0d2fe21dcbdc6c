"""The saved state of a training in one safetensors file: trained parameters, buffers, optimizer moments, progress.

Tensors are named `module.NAME` and `optimizer.KIND.NAME`; the metadata's `progress` is JSON with `step` and `seconds`.
Frozen parameters are not saved: they are those of the checkpoint that the training started from.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from phi4mm.errors import CheckpointError

MAX_NAMES = 5  # in an error message


@dataclass(frozen=True)
class SavedProgress:
    """How far a training was: steps taken, and the seconds they took."""

    step: int
    seconds: float


def save_state(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, progress: SavedProgress) -> None:
    """Write the state atomically: after a failure the previous file is unchanged."""
    trained = _trained(module)
    tensors = {f"module.{name}": value for name, value in (*trained.items(), *_buffers(module).items())}
    for name, parameter in trained.items():
        moments = optimizer.state.get(parameter, {})
        tensors |= {f"optimizer.{kind}.{name}": value for kind, value in moments.items()}
    # Copied, because safetensors refuses tensors that share memory, as tied weights do.
    copies = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    unfinished = path.with_suffix(".part")
    save_file(copies, unfinished, {"progress": json.dumps(asdict(progress))})
    os.replace(unfinished, path)


def load_state(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> SavedProgress:
    """Load a saved state into the module and its optimizer, and return its progress.

    raises  CheckpointError when the file holds other parameters than the module trains
    """
    load_module(path, module)
    trained = _trained(module)
    moments: dict[str, dict[str, Tensor]] = {}
    for key, value in _read(path, "optimizer.").items():
        kind, _, name = key.partition(".")
        moments.setdefault(name, {})[kind] = value
    if unknown := sorted(moments.keys() - trained.keys()):
        raise CheckpointError(f"{path} has optimizer moments of parameters that are not trained now: {_some(unknown)}")
    for name, parameter in trained.items():
        optimizer.state.pop(parameter, None)
        if name in moments:
            optimizer.state[parameter] = {kind: value.to(parameter.device) for kind, value in moments[name].items()}
    return read_progress(path)


def load_module(path: Path, module: nn.Module) -> None:
    """Load the parameters and buffers of a saved state into a module; frozen parameters stay as they are.

    raises  CheckpointError when a parameter or buffer is missing, unknown or of another shape
    """
    saved = _read(path, "module.")
    expected = {**_trained(module), **_buffers(module)}
    missing, unknown = sorted(expected.keys() - saved.keys()), sorted(saved.keys() - expected.keys())
    shapes = [
        f"{name} is {tuple(saved[name].shape)}, expected {tuple(value.shape)}"
        for name, value in expected.items()
        if name in saved and saved[name].shape != value.shape
    ]
    faults = {"missing": missing, "unknown": unknown, "misshaped": shapes}
    if problems := [f"{kind}: {_some(names)}" for kind, names in faults.items() if names]:
        raise CheckpointError(f"{path} does not fit this model; {'; '.join(problems)}")
    with torch.no_grad():
        for name, value in expected.items():
            value.copy_(saved[name])


def load_trained(path: Path, module: nn.Module, prefix: str) -> None:
    """Load what another objective trained of `module`, which it holds under the name `prefix`, in place.

    raises  CheckpointError when a tensor is unknown to the module or of another shape, or nothing of it was trained
    """
    saved = _read(path, f"module.{prefix}.")
    own = module.state_dict()
    wrong = sorted(name for name, value in saved.items() if name not in own or own[name].shape != value.shape)
    if wrong or not saved:
        raise CheckpointError(f"{path} does not fit this model: {_some(wrong) or 'it trained nothing of it'}")
    module.load_state_dict(saved, strict=False)


def read_progress(path: Path) -> SavedProgress:
    """The progress of a saved state. Raises CheckpointError for any other file."""
    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get("progress")
    if text is None:
        raise CheckpointError(f"{path} is not a saved training state: its metadata has no `progress`")
    try:
        progress = json.loads(text)
        return SavedProgress(int(progress["step"]), float(progress["seconds"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is not a saved training state: the `progress` in its metadata is damaged ({error!r})"
        ) from None


def _trained(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def _buffers(module: nn.Module) -> dict[str, Tensor]:
    """The persistent buffers of modules in which a parameter is trained."""
    names = module.state_dict(keep_vars=True).keys()
    trained = tuple(_trained(module))
    buffers = {name: buffer for name, buffer in module.named_buffers() if name in names}
    return {
        name: buffer
        for name, buffer in buffers.items()
        if any(learned.startswith(name.rpartition(".")[0]) for learned in trained)
    }


def _read(path: Path, prefix: str) -> dict[str, Tensor]:
    with safe_open(path, "pt") as file:
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
        return {name.removeprefix(prefix): file.get_tensor(name) for name in names}


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
