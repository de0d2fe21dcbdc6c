"""Devices as scripts for transformers name them, and the CPU in place of CUDA where PHI4MM_DEVICE=cpu asks for it."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Mapping
from typing import TypeAlias

import torch

from phi4mm.config.engine import EngineConfig
from phi4mm.config.validate import is_integer, shown
from phi4mm.errors import ConfigError
from phi4mm.inference.resolve import device_name, resolve

Device: TypeAlias = "str | int | torch.device | Mapping[str, str | int | torch.device]"
VARIABLE = "PHI4MM_DEVICE"
MAX_DEVICES = 1024


def resolved_device(device: object) -> str:
    """The name of a device, checked to be available; a mapping may only put the whole model ("") on one.

    With PHI4MM_DEVICE=cpu a CUDA device is the CPU, and one warning says so. Raises ConfigError.
    """
    if isinstance(device, Mapping) and set(device) == {""}:
        device = device[""]
    if device is None or (is_integer(device) and not 0 <= device < MAX_DEVICES):
        raise ConfigError(f"device is {shown(device)}; expected 'cpu', 'cuda', 'auto', or the number of a GPU, from 0")
    name = device_name(device)
    chosen = os.environ.get(VARIABLE, "")
    if chosen not in ("", "cpu"):
        raise ConfigError(f"{VARIABLE} is {shown(chosen)}; expected cpu, or leave it unset")
    if name.partition(":")[0] == "cuda":
        if chosen:
            _warn_once()
            return "cpu"
        if not torch.cuda.is_available():
            raise ConfigError(
                f"device is {shown(name)} but torch finds no CUDA device; use device 'cpu' or 'auto', or set "
                f"{VARIABLE}=cpu to run this script on the CPU as it is"
            )
    return resolve(EngineConfig(name)).device


@functools.cache
def _warn_once() -> None:
    warnings.warn(f"{VARIABLE}=cpu: this script asks for CUDA and runs on the CPU", stacklevel=4)
