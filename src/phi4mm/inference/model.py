"""Load, process, run, read: the one place where all parts meet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType

from phi4mm.config.engine import EngineConfig, ResolvedEngineConfig
from phi4mm.config.model import Phi4MMConfig
from phi4mm.engine.core import Engine
from phi4mm.engine.request import Constraint, Request
from phi4mm.errors import CapacityError, InputError
from phi4mm.inference.inputs import as_audios, as_images, as_messages
from phi4mm.inference.resolve import resolve
from phi4mm.processing.detokenizer import TextStream
from phi4mm.processing.processor import Processor
from phi4mm.processing.structured import Grammars
from phi4mm.processing.tool_calls import as_tool, parse_tool_calls
from phi4mm.protocol.inputs import Prompt
from phi4mm.protocol.request import AudioInput, ChatRequest, Content, ImageInput, ResponseFormat, ToolInput
from phi4mm.protocol.response import FinishReason, Reply, Usage
from phi4mm.protocol.sampling import SamplingParams


class Model:
    """A loaded model. Its methods may be mixed freely from one thread: running requests share each step."""

    def __init__(
        self,
        engine: Engine,
        processor: Processor,
        *,
        config: Phi4MMConfig,
        eos_ids: Sequence[int],
        settings: ResolvedEngineConfig,
    ) -> None:
        self.config = config
        self.settings = settings
        self.processor = processor
        self._eos_ids = frozenset(eos_ids)
        self._grammars = Grammars(processor.tokenizer, config.text.vocab_size, self._eos_ids)
        self._engine = engine
        self._answers: dict[str, _Answer] = {}

    def chat(
        self,
        content: Content = "",
        *,
        images: Sequence[ImageInput] = (),
        audios: Sequence[AudioInput] = (),
        system: str | None = None,
        tools: Sequence[ToolInput] = (),
        params: SamplingParams | None = None,
        response_format: ResponseFormat | None = None,
        tool_choice: str = "auto",
    ) -> Reply:
        """Answer one question, or the last of several `Message`s; see `ChatRequest`. Raises InputError."""
        params = params or SamplingParams()
        request = ChatRequest(content, images, audios, system, tools, params, response_format, tool_choice)
        return self._ask(request).finish()

    def stream(
        self,
        content: Content = "",
        *,
        images: Sequence[ImageInput] = (),
        audios: Sequence[AudioInput] = (),
        system: str | None = None,
        tools: Sequence[ToolInput] = (),
        params: SamplingParams | None = None,
        response_format: ResponseFormat | None = None,
        tool_choice: str = "auto",
    ) -> Stream:
        """Like `chat`, piece by piece: iterate over the text, then read `.reply`."""
        params = params or SamplingParams()
        if params.n > 1:
            raise InputError(f"n is {params.n}, and a stream is one answer; use chat() for several")
        return self._ask(ChatRequest(content, images, audios, system, tools, params, response_format, tool_choice))

    def batch(self, requests: Sequence[ChatRequest]) -> list[Reply]:
        """Answer requests of any mixture of modes and lengths side by side, each as if it were alone."""
        streams: list[Stream] = []
        try:
            for request in requests:
                while self._engine.busy and self._engine.room < request.params.n:
                    self._step()
                streams.append(self._ask(request))
            return [stream.finish() for stream in streams]
        finally:
            for stream in streams:
                stream.close()

    def generate(
        self,
        *,
        prompt: str,
        images: Sequence[ImageInput] = (),
        audios: Sequence[AudioInput] = (),
        params: SamplingParams | None = None,
    ) -> Reply:
        """Go on from a raw prompt in the published chat format, with its `<|image_1|>` and `<|audio_1|>` marks."""
        made = self.processor.prompt(prompt, images=as_images(images), audios=as_audios(audios))
        return self.submit(made, params or SamplingParams(), tools="<|tool|>" in prompt).finish()

    def submit(
        self, prompt: Prompt, params: SamplingParams, *, tools: bool = False, constraint: Constraint | None = None
    ) -> Stream:
        """Run a processed prompt; with `tools`, calls are read from the answer. `constraint` is this answer's own.

        With `params.n` the stream is of the first answer, and its `finish` gives them all.
        raises  InputError, CapacityError when too many requests wait
        """
        if self._engine.room < params.n:
            raise CapacityError(f"there is room for {self._engine.room} more requests and {params.n} came; try later")
        streams: list[Stream] = []
        for n in range(params.n):
            own = params if params.seed is None else replace(params, seed=params.seed + n)
            forked = constraint if constraint is None or n == 0 else constraint.fork()
            first = streams[0]._answer.request if streams else None
            request = self._engine.add(prompt, own, constraint=forked, after=first)
            answer = _Answer(request, TextStream(self.processor.tokenizer.answer_bytes, params.stop), tools)
            self._answers[request.id] = answer
            streams.append(Stream(self, answer))
        streams[0]._others = tuple(streams[1:])
        return streams[0]

    def move(self, device: str) -> None:
        """Put the weights on another device, in their dtype.

        raises  ConfigError when there is no such device, InputError while answers are running
        """
        device = resolve(EngineConfig(device, self.settings.dtype)).device
        if self._answers:
            raise InputError(f"{len(self._answers)} answers are running; finish or close them before the model moves")
        self._engine.move(device)
        self.settings = replace(self.settings, device=device)

    def _ask(self, request: ChatRequest) -> Stream:
        tools = [as_tool(tool) for tool in request.tools]
        constraint = self._grammars.compile(request.response_format, tools, request.tool_choice)
        prompt = self.processor.chat(as_messages(request), tools=tools)
        return self.submit(prompt, request.params, tools=bool(tools), constraint=constraint)

    def _step(self) -> None:
        """One engine step; new text goes to the answers it belongs to."""
        for output in self._engine.step():
            answer = self._answers.get(output.request.id)
            if answer is None:
                continue  # a stop string ended it at an earlier token of this step
            answer.tokens += output.token is not None
            if output.token is not None and output.token not in self._eos_ids:
                answer.push(output.token)
            if answer.text.stopped:
                self._engine.abort(output.request)
                del output.request.answer[answer.tokens :]
            if output.end_reason is not None or answer.text.stopped:
                answer.pieces.append(answer.text.finish())
                del self._answers[output.request.id]

    def _abort(self, answer: _Answer) -> None:
        self._engine.abort(answer.request)
        self._answers.pop(answer.request.id, None)

    def _reply(self, answer: _Answer) -> Reply:
        """The whole of an ended answer. Raises the request's EngineError."""
        request = answer.request
        if request.error is not None:
            raise request.error
        calls = tuple(parse_tool_calls(answer.text.text)) if answer.tools else ()
        length = request.end_reason == "length" and not answer.text.stopped
        reason: FinishReason = "tool_calls" if calls else "length" if length else "stop"
        return Reply(answer.text.text, reason, _usage(request), calls, tuple(request.answer), tuple(request.logprobs))


@dataclass(eq=False)
class _Answer:
    """A running request's text: what is certain and not yet taken lies in `pieces`; `tokens` have been seen."""

    request: Request
    text: TextStream
    tools: bool
    tokens: int = 0

    def __post_init__(self) -> None:
        self.pieces: deque[str] = deque()

    def push(self, token: int) -> None:
        self.pieces.append(self.text.push(token))


class Stream:
    """An answer while it comes: iterate for text, then read `reply`. Closing it early frees its place at once."""

    def __init__(self, model: Model, answer: _Answer) -> None:
        self._model = model
        self._answer = answer
        self._others: tuple[Stream, ...] = ()
        self._closed = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """The next piece of text, never empty, never half a character."""
        while not self._closed:
            while self._answer.pieces:
                piece = self._answer.pieces.popleft()
                if piece:
                    return piece
            if self._ended:
                break
            self._model._step()
        if self._answer.request.error is not None:
            raise self._answer.request.error
        raise StopIteration

    @property
    def reply(self) -> Reply:
        """The whole answer, once iteration has ended. Raises InputError before that, and after an early close."""
        if not self._ended or self._closed:
            raise InputError("the answer has not ended; iterate to the end first, or call finish()")
        return self._model._reply(self._answer)

    def finish(self) -> Reply:
        """Run to the end and return the whole answer, with its alternatives."""
        try:
            for _ in self:
                pass
            return replace(self.reply, alternatives=tuple(other.finish() for other in self._others))
        finally:
            for other in self._others:
                other.close()

    def close(self) -> None:
        """Stop the answer, and its alternatives; does nothing once they have ended."""
        for other in self._others:
            other.close()
        if not self._ended:
            self._closed = True
            self._model._abort(self._answer)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _ended(self) -> bool:
        return self._answer.request.end_reason is not None


def _usage(request: Request) -> Usage:
    spans = request.prompt.spans
    return Usage(
        prompt_tokens=len(request.prompt.ids),
        completion_tokens=len(request.answer),
        image_tokens=sum(span.length for span in spans if span.kind == "image"),
        audio_tokens=sum(span.length for span in spans if span.kind == "audio"),
    )
