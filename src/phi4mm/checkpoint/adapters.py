"""Read and write folders of one LoRA, as PEFT writes them.

O outputs, I inputs, R rank of a LoRA.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from phi4mm.checkpoint.contents import PEFT_PREFIX
from phi4mm.checkpoint.save import whole_folder, write_json
from phi4mm.checkpoint.shards import StoredTensor, read_tensor, stored_tensors, tensor_source, write_file
from phi4mm.config.fields import Fields
from phi4mm.config.json_file import read_json
from phi4mm.config.model import Phi4MMConfig
from phi4mm.config.transformers import PEFT_FIXED
from phi4mm.config.validate import listed
from phi4mm.errors import CheckpointError, ConfigError
from phi4mm.model.adapter_weights import AdapterWeights, Target, projection_sizes

_FLOATS = (torch.float32, torch.bfloat16, torch.float16)
_MODULES = {
    "qkv_proj": "self_attn.qkv_proj",
    "o_proj": "self_attn.o_proj",
    "gate_up_proj": "mlp.gate_up_proj",
    "down_proj": "mlp.down_proj",
}
# Tensor names may contain the adapter's name, as in a PEFT model in memory; those that PEFT saves do not.
_NAME = re.compile(
    rf"(?:{re.escape(PEFT_PREFIX)})?model\.layers\.(?P<layer>\d{{1,6}})"
    rf"\.(?:{'|'.join(map(re.escape, _MODULES.values()))})\.lora_(?P<side>[AB])(?:\.(?P<adapter>[^.]+))?\.weight"
)
# Settings, besides PEFT_FIXED, whose other values make the adapter add something else than B(A(x)).
_PLAIN = {
    "alora_invocation_tokens": None,
    "arrow_config": None,
    "kasa_config": None,
    "megatron_config": None,
    "monteclora_config": None,
    "target_parameters": None,
    "trainable_token_indices": None,
    "use_bdlora": None,
    "use_qalora": False,
}
# These initializations change the base weights, which the folder does not contain; others only set A and B.
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


@dataclass(frozen=True)
class _Settings:
    """Rank, scaling and target modules of adapter_config.json; the modules are None where it gives a pattern."""

    rank: int
    scaling: float
    target_modules: tuple[str, ...] | None


def read_adapter(folder: Path, config: Phi4MMConfig) -> AdapterWeights:
    """Read the LoRA in `folder` for a model of `config`; tensors are on the CPU in the dtype in which they are stored.

    raises  ConfigError for an adapter_config.json of anything but a plain LoRA; CheckpointError that lists every
            missing, unexpected, repeated, misshaped and mistyped tensor before any is read, or all that contain NaN
    """
    settings = _read_settings(folder / "adapter_config.json")
    if (folder / "adapter_model.bin").exists() and not any(folder.glob("*.safetensors")):
        raise CheckpointError(
            f"{folder} holds adapter_model.bin; phi4mm never opens pickles, which can run code: save the adapter again"
            " with PEFT's save_pretrained(folder, safe_serialization=True)"
        )
    stored = _checked(folder, stored_tensors(folder, "adapter_model"), settings, config)
    layers = {target: (read_tensor(a), read_tensor(b)) for target, (a, b) in stored.items()}
    weights = AdapterWeights(layers, settings.scaling)
    wrong = [
        f"{module(target)}.lora_{side}" for target, side, matrix in _matrices(weights) if not matrix.isfinite().all()
    ]
    if wrong:
        raise CheckpointError(f"{folder} holds NaN or infinite numbers in:" + listed(wrong))
    return weights


def write_adapter(weights: AdapterWeights, folder: Path, *, config: Phi4MMConfig) -> None:
    """Write a LoRA for a model of `config` to the new `folder`, as PEFT does. If that fails, nothing is left there.

    raises  ConfigError when `folder` is not empty, or `weights` are empty, of several ranks or for another model;
            CheckpointError if writing fails
    """
    ranks = {len(a) for a, _ in weights.layers.values()}
    if len(ranks) != 1:
        raise ConfigError(f"the adapter has ranks {sorted(ranks)}; expected one rank for all its matrices")
    (rank,) = ranks
    problems: list[str] = []
    for target, side, matrix in _matrices(weights):
        expected = _shape(target, side, rank, config)
        problems += _problems(f"{target} {side}", tuple(matrix.shape), matrix.dtype, expected)
    if problems:
        raise ConfigError("the adapter does not fit the model:" + listed(problems))
    tensors = {
        f"{PEFT_PREFIX}{module(target)}.lora_{side}.weight": tensor_source(matrix)
        for target, side, matrix in _matrices(weights)
    }
    alpha = weights.scaling * rank
    with whole_folder(folder) as out:
        settings: dict[str, Any] = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "r": rank,
            "lora_alpha": int(alpha) if alpha.is_integer() else alpha,
            "lora_dropout": 0.0,
            "bias": "none",
            "target_modules": sorted(module(target) for target in weights.layers),
        }
        write_json(out / "adapter_config.json", settings)
        write_file(out / "adapter_model.safetensors", dict(sorted(tensors.items())))


def module(target: Target) -> str:
    """The name of a target's linear layer in the published model and in that of transformers."""
    return f"model.layers.{target[0]}.{_MODULES[target[1]]}"


def _matrices(weights: AdapterWeights) -> Iterator[tuple[Target, str, Tensor]]:
    for target, (a, b) in weights.layers.items():
        yield target, "A", a
        yield target, "B", b


def _read_settings(path: Path) -> _Settings:
    fields = Fields(read_json(path), str(path))
    for name, only in (PEFT_FIXED | _PLAIN).items():
        if name != "use_rslora" and fields.raw.get(name) is not None:
            fields.expect(name, only)
    initial = fields.raw.get("init_lora_weights")
    if isinstance(initial, str) and initial.startswith(_CHANGES_BASE):
        raise ConfigError(
            f"{path}: init_lora_weights is {initial!r:.60}, which also changes the base weights; convert the adapter to"
            " plain LoRA with PEFT's save_pretrained(folder, path_initial_model_for_weight_conversion=...)"
        )
    rslora = fields.raw.get("use_rslora")
    if rslora not in (None, True, False):
        raise ConfigError(f"{path}: use_rslora is {rslora!r:.60}; expected true or false")
    rank, alpha = fields.integer("r"), fields.number("lora_alpha")
    return _Settings(rank, alpha / (math.sqrt(rank) if rslora else rank), _target_modules(fields.raw, path))


def _target_modules(raw: Mapping[str, Any], path: Path) -> tuple[str, ...] | None:
    """The target modules, if they are a list that holds for all layers; else None."""
    modules = raw.get("target_modules")
    if not isinstance(modules, list) or any(raw.get(name) for name in ("layers_to_transform", "exclude_modules")):
        return None
    if not all(isinstance(module, str) for module in modules):
        raise ConfigError(f"{path}: target_modules is {modules!r:.60}; expected names of modules")
    return tuple(modules)


def _checked(
    folder: Path, stored: Mapping[str, StoredTensor], settings: _Settings, config: Phi4MMConfig
) -> dict[Target, tuple[StoredTensor, StoredTensor]]:
    """A and B of each target. Raises CheckpointError if tensors are missing, unexpected or of a wrong shape."""
    matrices: dict[tuple[Target, str], StoredTensor] = {}
    problems: list[str] = []
    adapters: set[str] = set()
    for name, tensor in stored.items():
        key, adapter = _parse(name, config)
        if key is None:
            problems.append(f"unexpected {name}")
        elif key in matrices:
            problems.append(f"repeated {name}")
        else:
            matrices[key] = tensor
            adapters.add(adapter)
            problems += _problems(name, tensor.shape, tensor.dtype, _shape(*key, settings.rank, config))
    if len(adapters) > 1:
        problems.append(f"adapters of several names: {', '.join(sorted(adapters)):.100}; expected one in a folder")
    targets = sorted({target for target, _ in matrices} | set(_expected(settings, config)))
    problems += [
        f"missing {module(target)}.lora_{side}.weight"
        for target in targets
        for side in "AB"
        if (target, side) not in matrices
    ]
    if not targets:
        problems.append("no LoRA of the decoder at all")
    if problems:
        raise CheckpointError(
            f"the tensors of {folder} are no LoRA of rank {settings.rank} over this model's decoder ({len(problems)}"
            f" problems); expected A and B of {', '.join(_MODULES.values())} or some of them:" + listed(problems)
        )
    return {target: (matrices[target, "A"], matrices[target, "B"]) for target in targets}


def _parse(name: str, config: Phi4MMConfig) -> tuple[tuple[Target, str] | None, str]:
    """Target and side of a tensor, None if the decoder has no such one; and the adapter's name, if it has one."""
    match = _NAME.fullmatch(name)
    if match is None or int(match["layer"]) >= config.text.num_layers:
        return None, ""
    projection = next(short for short, long in _MODULES.items() if f".{long}." in name)
    return ((int(match["layer"]), projection), match["side"]), match["adapter"] or ""


def _expected(settings: _Settings, config: Phi4MMConfig) -> Iterator[Target]:
    """Targets that target_modules names: by the whole name of a module or its end, as in PEFT."""
    for layer in range(config.text.num_layers if settings.target_modules else 0):
        for projection in _MODULES:
            name = module((layer, projection))
            if any(name == chosen or name.endswith(f".{chosen}") for chosen in settings.target_modules or ()):
                yield layer, projection


def _shape(target: Target, side: str, rank: int, config: Phi4MMConfig) -> tuple[int, int] | None:
    """(R, I) of A or (O, R) of B; None where the model has no such target."""
    sizes = projection_sizes(config.text).get(target[1])
    if sizes is None or not 0 <= target[0] < config.text.num_layers:
        return None
    return (rank, sizes[1]) if side == "A" else (sizes[0], rank)


def _problems(name: str, shape: tuple[int, ...], dtype: torch.dtype, expected: tuple[int, int] | None) -> Iterator[str]:
    if expected is None:
        yield f"unexpected {name}"
    elif shape != expected:
        yield f"misshaped {name} {shape}; expected {expected}"
    if dtype not in _FLOATS:
        yield f"mistyped {name} {dtype}; expected float32, bfloat16 or float16".replace("torch.", "")
