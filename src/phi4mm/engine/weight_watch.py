"""Detects that a weight of a model was replaced or moved."""

from __future__ import annotations

from collections.abc import Callable
from operator import getitem, is_not
from typing import Any

from torch import Tensor, nn


def weight_watch(root: nn.Module, *, values: bool) -> Callable[[], bool]:
    """A function that tells whether a tensor below `root` was replaced or moved since this call.

    It does not detect values that were changed in place.

    values  also detect a new parameter at the address of an old one. A caller that keeps computed results needs this;
            old parameters then stay in memory as long as the function, so that no new one gets their address. A caller
            that keeps only addresses does not, and replaced parameters are freed at once. Replaced modules and buffers
            stay in memory in both cases
    """
    modules = list(root.modules())
    children = _Entries([module._modules for module in modules])
    parameters = _Entries([module._parameters for module in modules])
    buffers = _Entries([module._buffers for module in modules])
    seen_children, seen_buffers = children.now(), buffers.now()
    seen_parameters = parameters.now() if values else []
    seen_addresses = list(map(Tensor.data_ptr, parameters.now()))

    def changed() -> bool:
        try:
            return (
                children.now() != seen_children
                or list(map(Tensor.data_ptr, parameters.now())) != seen_addresses
                or any(map(is_not, buffers.now(), seen_buffers))
                or (values and any(map(is_not, parameters.now(), seen_parameters)))
            )
        except KeyError:
            return True

    return changed


class _Entries:
    """The entries of some dicts, read again by one `map` (fast for thousands). Raises KeyError when one is missing."""

    def __init__(self, owners: list[Any]) -> None:
        pairs = [(owner, key) for owner in owners for key, value in owner.items() if value is not None]
        self._owners, self._keys = [owner for owner, _ in pairs], [key for _, key in pairs]

    def now(self) -> list[Any]:
        return list(map(getitem, self._owners, self._keys))
