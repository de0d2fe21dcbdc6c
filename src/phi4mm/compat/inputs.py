"""What a processor or tokenizer returns, for `generate(**inputs)`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor

from phi4mm.compat.arrays import NAMES
from phi4mm.compat.device import Device, resolved_device
from phi4mm.config.validate import shown
from phi4mm.errors import ConfigError


# Any and not Tensor: `generate(**inputs, max_new_tokens=9)` must pass a type checker.
class Inputs(MutableMapping[str, Any]):
    """Tensors (or lists, where none were asked for) by their published names, as items or attributes.

    Those for a kind of media that no prompt has are missing. Names, shapes and dtypes: phi4mm.compat.arrays.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._values[name] = value

    def __delitem__(self, name: str) -> None:
        del self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        if name not in NAMES or name not in self._values:
            raise AttributeError(f"these inputs have no {name}")
        return self._values[name]

    def to(self, device: Device | torch.dtype | None = None, dtype: torch.dtype | None = None) -> Inputs:
        """A copy on another device, or with floating-point tensors in another dtype, or both. Raises ConfigError."""
        if isinstance(device, torch.dtype):
            device, dtype = None, device
        if dtype is not None and not isinstance(dtype, torch.dtype):
            raise ConfigError(f"dtype is {shown(dtype)}; expected a torch.dtype")
        target = None if device is None else resolved_device(device)

        def moved(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            return value.to(device=target, dtype=dtype if value.is_floating_point() else None)

        return Inputs({name: moved(value) for name, value in self._values.items()})
