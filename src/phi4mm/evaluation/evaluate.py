"""Ask a model the examples of tasks and score its answers."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from phi4mm.errors import ConfigError, PhiError
from phi4mm.evaluation.intervals import interval
from phi4mm.evaluation.records import Result
from phi4mm.evaluation.rows import Case, Row, Task
from phi4mm.evaluation.units import Counts
from phi4mm.protocol.request import ChatRequest
from phi4mm.protocol.response import Reply
from phi4mm.protocol.sampling import SamplingParams

BATCH = 50  # examples in memory at once
MAX_ERROR = 300  # characters of an error in a record


class Answering(Protocol):
    """What answers: `phi4mm.load` returns one."""

    def batch(self, requests: Sequence[ChatRequest]) -> list[Reply]:
        """See `Model.batch`."""


def evaluate(
    model: Answering,
    tasks: Iterable[Task],
    *,
    examples: int,
    seed: int,
    progress: Callable[[Task, int, int], None] = lambda task, done, count: None,
    answered: Callable[[Row, Case, str | PhiError, Counts], None] = lambda row, case, answer, counts: None,
) -> tuple[dict[str, Result], dict[str, str]]:
    """The results of all rows, and the reasons of those left out, both by name. Answers are greedy.

    examples  of each task, from number `seed` on; a task that has fewer gives all it has
    progress  is called with a task, how many of its examples are answered, and how many there are
    answered  is called with each row's example, its answer or error, and its counts
    """
    results: dict[str, Result] = {}
    left_out: dict[str, str] = {}
    for task in tasks:
        try:
            results |= _run(model, task, examples, seed, progress, answered)
        except ConfigError as error:
            left_out |= {row.name: str(error) for row in task.rows}
    return results, left_out


def _run(
    model: Answering,
    task: Task,
    examples: int,
    seed: int,
    progress: Callable[[Task, int, int], None],
    answered: Callable[[Row, Case, str | PhiError, Counts], None],
) -> dict[str, Result]:
    count = examples if task.most is None else min(examples, task.most)
    digest, start = hashlib.sha256(), time.perf_counter()
    errors: dict[int, str] = {}
    counts: dict[str, list[Counts]] = {row.name: [] for row in task.rows}
    for first in range(0, count, BATCH):
        progress(task, first, count)
        numbers = range(seed + first, seed + min(first + BATCH, count))
        cases = [task.make(number) for number in numbers]
        for number, case, answer in zip(numbers, cases, _answers(model, cases, task.max_tokens), strict=True):
            digest.update(case.digest())
            if isinstance(answer, PhiError):
                errors[number] = f"{type(answer).__name__}: {answer}"[:MAX_ERROR]
            for row in task.rows:
                failed = isinstance(answer, PhiError)
                found = row.metric.failed(case.reference) if failed else row.metric.counts(case.reference, str(answer))
                counts[row.name].append(found)
                answered(row, case, answer, found)
    progress(task, count, count)
    seconds = round(time.perf_counter() - start, 2)
    return {row.name: _result(row, counts[row.name], seed, seconds, digest.hexdigest(), errors) for row in task.rows}


def _result(row: Row, counts: list[Counts], seed: int, seconds: float, digest: str, errors: dict[int, str]) -> Result:
    """A row without a single answer has no value: what failed was not the model's knowledge."""
    unit, measured = row.metric.unit, len(errors) < len(counts)
    sums = [sum(column) for column in zip(*counts, strict=True)]
    return Result(
        title=row.title,
        unit=unit.name,
        bar=row.bar,
        value=unit.value(sums) if measured else None,
        interval=interval(counts, unit) if measured else None,
        count=len(counts),
        seed=seed,
        seconds=seconds,
        digest=digest,
        errors=errors,
        counts=tuple(counts),
    )


def _answers(model: Answering, cases: Sequence[Case], max_tokens: int) -> list[str | PhiError]:
    """The answer to each case, or its error. ConfigError, which every case would raise, is raised."""
    params = SamplingParams(max_tokens=max_tokens)
    requests = [
        ChatRequest(case.messages, tools=case.tools, params=params, response_format=case.response_format)
        for case in cases
    ]
    try:
        return [reply.text for reply in model.batch(requests)]
    except ConfigError:
        raise
    except PhiError:  # of one example, and it ended the others: asked one by one, each has its own answer or error
        return [_answer(model, request) for request in requests]


def _answer(model: Answering, request: ChatRequest) -> str | PhiError:
    try:
        return model.batch([request])[0].text
    except ConfigError:
        raise
    except PhiError as error:
        return error
