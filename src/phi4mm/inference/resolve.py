"""Resolves a configuration on this machine: chooses what is 'auto', with reasons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from phi4mm.checkpoint.scheme import read_scheme
from phi4mm.config.engine import DEVICES, DTYPES, MODALITIES, EngineConfig, ResolvedEngineConfig
from phi4mm.config.validate import is_integer, shown
from phi4mm.errors import ConfigError

SMALL_MODEL = 1_000_000_000  # bytes; with weights up to this size, 'auto' is float32 on a CPU


def resolve_in(folder: Path, config: EngineConfig) -> ResolvedEngineConfig:
    """`config` resolved on this machine for the checkpoint in `folder`. Raises ConfigError."""
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return resolve(replace(config, quantize=config.quantize or read_scheme(folder)), weight_bytes=size)


def resolve(config: EngineConfig, *, weight_bytes: int = 0) -> ResolvedEngineConfig:
    """`config` resolved on this machine for weights of that size. Raises ConfigError when there is no such device."""
    reasons = []
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
        reasons.append(f"device {device}: {'a' if device == 'cuda' else 'no'} CUDA device was found")
    _check_device(device)
    dtype = config.dtype
    if dtype == "auto":
        dtype, reason = _auto_dtype(device, weight_bytes)
        reasons.append(f"dtype {dtype}: {reason}")
    return ResolvedEngineConfig(
        device, dtype, MODALITIES[config.modalities], tuple(reasons), config.quantize, config.engine_args
    )


def device_name(device: object) -> str:
    """The name of a device that is given as torch does: by name, number of a GPU, torch.device, or None for "auto"."""
    if device is None:
        return "auto"
    if not isinstance(device, (str, torch.device)) and not is_integer(device):
        raise ConfigError(f"device is {shown(device)}; expected one of {', '.join(DEVICES)}, or a torch.device")
    return f"cuda:{device}" if is_integer(device) else str(device)


def dtype_name(dtype: object) -> str:
    """The name of a dtype that is given by name or as a torch.dtype, or None for "auto"."""
    if dtype is not None and not isinstance(dtype, (str, torch.dtype)):
        raise ConfigError(f"dtype is {shown(dtype)}; expected one of {', '.join(DTYPES)}, or a torch.dtype")
    return "auto" if dtype is None else str(dtype).removeprefix("torch.")


def _check_device(device: str) -> None:
    kind, colon, number = device.partition(":")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if count == 0:
        raise ConfigError(f"device is {shown(device)} but torch finds no CUDA device; use device 'cpu' or 'auto'")
    if colon and not (number.isdecimal() and len(number) < 5 and int(number) < count):
        raise ConfigError(f"device is {shown(device)}; expected {kind}:0 to {kind}:{count - 1} on this machine")


def _auto_dtype(device: str, weight_bytes: int) -> tuple[str, str]:
    if device != "cpu":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", "as published, and the GPU supports it"
        return "float16", "the GPU does not support bfloat16"
    if weight_bytes <= SMALL_MODEL:
        return "float32", "exact, and the weights are small"
    return "bfloat16", "as published; float32 would take twice the memory"
