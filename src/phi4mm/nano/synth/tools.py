"""Tools."""

from __future__ import annotations

import random

from phi4mm.nano.synth.example import Example, Speaker
from phi4mm.nano.synth.split import Split

TASKS: tuple[str, ...] = ()


def make(task: str, split: Split, rng: random.Random, _speak: Speaker) -> Example:
    """Nothing yet."""
    raise NotImplementedError
