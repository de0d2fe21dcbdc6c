"""Models without weights whose answers are known, and a small set of tasks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from phi4mm.errors import InputError
from phi4mm.evaluation import scoring
from phi4mm.evaluation.rows import Case, Row, Task
from phi4mm.protocol.messages import Message
from phi4mm.protocol.request import ChatRequest
from phi4mm.protocol.response import Reply, Usage

WORDS = "one two three four five six seven eight nine ten".split()


def reference(number: int) -> str:
    """`Three four five six.` for number 2."""
    words = [WORDS[(number + n) % 10] for n in range(4)]
    return " ".join(words).capitalize() + "."


def make(number: int) -> Case:
    return Case((Message.user(f"{number}"),), reference(number))


TASK = Task(
    make,
    (
        Row("exact", "equal texts", scoring.EXACT, 0.98),
        Row("words", "words", scoring.WORDS, 0.05),
        Row("letters", "characters", scoring.CHARACTERS),
        Row("sentence", "any sentence", scoring.SENTENCE),
        Row("empty", "no text", scoring.EMPTY),
    ),
)


class KnownModel:
    """Answers example number n by `answer(n)`; an empty-handed `None` is refused, as the engine would."""

    def __init__(self, answer: Callable[[int], str | None]) -> None:
        self.answer = answer
        self.batches: list[int] = []

    def batch(self, requests: Sequence[ChatRequest]) -> list[Reply]:
        self.batches.append(len(requests))
        return [self._reply(request) for request in requests]

    def _reply(self, request: ChatRequest) -> Reply:
        assert isinstance(request.content, tuple)
        message = request.content[-1]
        assert isinstance(message, Message)
        text = self.answer(int(str(message.parts[0])))
        if text is None:
            raise InputError("the prompt has 9000 tokens; expected at most 4096")
        return Reply(text, "stop", Usage(1, 1, 0, 0), (), ())


def perfect(number: int) -> str:
    return reference(number)


def wrong(number: int) -> str:
    return "no"


def half(number: int) -> str:
    """Right for even numbers, else with one word of four missing."""
    return reference(number) if number % 2 == 0 else reference(number).rpartition(" ")[0]
