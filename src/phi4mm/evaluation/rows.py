"""Tasks and rows: a task makes examples, and each of its rows scores the same answers by one metric."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from phi4mm.config.validate import nearest, shown
from phi4mm.errors import ConfigError
from phi4mm.evaluation.scoring import Metric
from phi4mm.protocol.messages import Audio, Message, Part, Tool
from phi4mm.protocol.request import ResponseFormat


@dataclass(frozen=True)
class Case:
    """A conversation, and the reference that its answer is compared with.

    spoken  the words of its synthesized speech, which stand for the samples in the digest: synthesizers keep a state
            and never speak twice exactly alike
    """

    messages: tuple[Message, ...]
    reference: str
    tools: tuple[Tool, ...] = ()
    response_format: ResponseFormat | None = None
    spoken: str = ""

    def digest(self) -> bytes:
        """SHA-256 of all that the model is given and of the reference; media count by their samples or bytes."""
        found = hashlib.sha256(repr((self.reference, self.tools, self.response_format, self.spoken)).encode())
        for message in self.messages:
            found.update(message.role.encode())
            for part in message.parts:
                found.update(type(part).__name__.encode())
                if not (self.spoken and isinstance(part, Audio)):
                    found.update(_bytes(part))
        return found.digest()


def _bytes(part: Part) -> bytes:
    if isinstance(part, str):
        return part.encode()
    rate = f"{part.rate} " if isinstance(part, Audio) else ""
    data = part.source
    content = data.encode() if isinstance(data, str) else data
    return rate.encode() + (content if isinstance(content, bytes) else np.ascontiguousarray(content).tobytes())


@dataclass(frozen=True)
class Row:
    """One score of a task.

    name   the key in records
    title  for people
    bar    the value that is wanted: at least, or at most where lower is better; None for none
    """

    name: str
    title: str
    metric: Metric
    bar: float | None = None


@dataclass(frozen=True)
class Task:
    """Examples with their rows.

    make        example number n. Raises ConfigError with what to install where something is missing
    max_tokens  of an answer
    most        how many examples there are; None: as many as are asked for
    """

    make: Callable[[int], Case]
    rows: tuple[Row, ...]
    max_tokens: int = 100
    most: int | None = None


def select(tasks: Iterable[Task], names: Iterable[str] | None) -> list[Task]:
    """The tasks with only the rows of these names; None: all. Raises ConfigError for an unknown name."""
    tasks = list(tasks)
    if names is None:
        return tasks
    wanted, known = list(names), [row.name for task in tasks for row in task.rows]
    for name in wanted:
        if name not in known:
            raise ConfigError(f"there is no row {shown(name)}; {nearest(name, known)}")
    kept = [
        Task(task.make, tuple(row for row in task.rows if row.name in wanted), task.max_tokens, task.most)
        for task in tasks
    ]
    return [task for task in kept if task.rows]
