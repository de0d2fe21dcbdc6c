"""Has a weight been replaced since somebody looked last?"""

from __future__ import annotations

from collections.abc import Callable
from operator import getitem, is_not
from typing import Any

from torch import Tensor, nn


def weight_watch(root: nn.Module, *, values: bool) -> Callable[[], bool]:
    """A question: has a tensor below `root` been replaced or moved since this call? Values set in place do not count.

    values  whether other values at an old address count. For who keeps addresses they do not, and plain weights that
            are replaced can be freed at once; for who keeps what was computed they do, and weights that are replaced
            live until the next look, lest another be taken for one of them, as modules do either way
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
    """The entries of some dicts, found again in one pass of C: a model has a thousand. A missing one is a KeyError."""

    def __init__(self, owners: list[Any]) -> None:
        pairs = [(owner, key) for owner in owners for key, value in owner.items() if value is not None]
        self._owners, self._keys = [owner for owner, _ in pairs], [key for _, key in pairs]

    def now(self) -> list[Any]:
        return list(map(getitem, self._owners, self._keys))
