"""A model that answers without weights, so that the command line is tested in milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from phi4mm.protocol.messages import Message, Tool, ToolCall
from phi4mm.protocol.request import ResponseFormat
from phi4mm.protocol.response import Reply, Usage
from phi4mm.protocol.sampling import SamplingParams

Answer = Callable[[Sequence[Message]], Iterator[str]]


def count_messages(messages: Sequence[Message]) -> Iterator[str]:
    """The answer `<n> é` in two pieces, where n is the number of messages."""
    yield f"{len(messages)}"
    yield " é"


@dataclass
class Call:
    messages: Sequence[Message]
    tools: Sequence[Tool]
    params: SamplingParams | None
    response_format: ResponseFormat | None


class FakeStream:
    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self._text = ""
        self.closed = False

    def __iter__(self) -> Iterator[str]:
        for piece in self._pieces:
            self._text += piece
            yield piece

    @property
    def reply(self) -> Reply:
        return Reply(self._text, "stop", Usage(5, 2, 0, 0), (), ())

    def __enter__(self) -> FakeStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.closed = True


@dataclass
class FakeModel:
    """Records all calls. `answer` yields the pieces of each answer, and may raise between two of them."""

    answer: Answer = count_messages
    tool_calls: tuple[ToolCall, ...] = ()
    calls: list[Call] = field(default_factory=list)
    adapters: list[str] = field(default_factory=list)
    folders: dict[str, str] = field(default_factory=dict)
    streams: list[FakeStream] = field(default_factory=list)
    raw: list[tuple[str, Sequence[str], Sequence[str]]] = field(default_factory=list)

    def stream(
        self,
        content: Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        params: SamplingParams | None = None,
        response_format: ResponseFormat | None = None,
        adapter: str = "auto",
    ) -> FakeStream:
        self.calls.append(Call(content, tools, params, response_format))
        self.adapters.append(adapter)
        self.streams.append(FakeStream(self.answer(content)))
        return self.streams[-1]

    def chat(
        self,
        content: Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        params: SamplingParams | None = None,
        response_format: ResponseFormat | None = None,
        adapter: str = "auto",
    ) -> Reply:
        pieces = self.stream(content, tools=tools, params=params, response_format=response_format, adapter=adapter)
        text = "".join(pieces)
        return Reply(text, "tool_calls" if self.tool_calls else "stop", Usage(5, 2, 0, 0), self.tool_calls, (1, 2))

    def generate(
        self,
        *,
        prompt: str,
        images: Sequence[str] = (),
        audios: Sequence[str] = (),
        params: SamplingParams | None = None,
        adapter: str = "auto",
    ) -> Reply:
        self.adapters.append(adapter)
        self.raw.append((prompt, images, audios))
        return Reply(f"raw {prompt}", "stop", Usage(5, 2, 0, 0), (), (1, 2))
