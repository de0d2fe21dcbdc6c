"""Devices as scripts for transformers name them."""

from __future__ import annotations

from typing import TypeAlias

import torch

from phi4mm.config.engine import EngineConfig
from phi4mm.errors import ConfigError
from phi4mm.inference.resolve import resolve

Device: TypeAlias = "str | int | torch.device"


def resolved_device(device: object) -> str:
    """The name of a device, checked to be available. Raises ConfigError."""
    if isinstance(device, bool) or not isinstance(device, (str, int, torch.device)):
        raise ConfigError(f"device is {device!r}; expected 'cpu', 'cuda', 'cuda:1' or 'auto'")
    return resolve(EngineConfig(f"cuda:{device}" if isinstance(device, int) else str(device))).device
