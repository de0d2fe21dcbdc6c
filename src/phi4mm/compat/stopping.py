"""Stopping criteria: functions of a script that end answers.

B prompts, S tokens of the longest so far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from phi4mm.compat.values import dense
from phi4mm.config.validate import shown
from phi4mm.errors import InputError

Criterion: TypeAlias = "Callable[[Tensor, Any], Any]"


class StoppingCriteria:
    """Base class for a script's own criterion; any callable will do."""

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> bool | Tensor:
        """Whether to stop: one answer for all, or (B,) bool. `input_ids` is (B, S); `scores` is always None."""
        raise NotImplementedError


class StoppingCriteriaList(list[Criterion]):
    """Criteria, each of which may end an answer."""

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        """(B,) bool: the answers that one of the criteria ends. Raises InputError for a result that is none."""
        stopped = torch.zeros(len(input_ids), dtype=torch.bool)
        for criterion in self:
            result = _tensor(criterion(input_ids, scores, **kwargs))
            if result.shape not in ((), (1,), stopped.shape):
                raise InputError(
                    f"a stopping criterion returned shape {tuple(result.shape)}; expected one bool, or {len(stopped)}"
                )
            stopped |= result.bool()
        return stopped


def as_criteria(given: Criterion | Sequence[Criterion] | None) -> StoppingCriteriaList:
    """One callable or several as a list."""
    if given is None or isinstance(given, Sequence):
        return StoppingCriteriaList(given or ())
    return StoppingCriteriaList([given])


def _tensor(result: object) -> Tensor:
    if isinstance(result, Tensor):
        return dense("the result of a stopping criterion", result)
    try:
        return torch.as_tensor(result)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"a stopping criterion returned {shown(result)}; expected one bool, or one a prompt") from None
