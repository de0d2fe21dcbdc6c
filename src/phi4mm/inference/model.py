"""`Model`: processing, an engine behind its client, and decoding of text, as one object."""

from __future__ import annotations

import itertools
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from types import TracebackType
from typing import Any, Final, TypeVar

from torch import Tensor

from phi4mm.config.engine import Device, EngineConfig, ResolvedEngineConfig
from phi4mm.config.model import Phi4MMConfig
from phi4mm.config.validate import shown
from phi4mm.engine.client import EngineClient
from phi4mm.engine.messages import EngineRequest, EngineStats
from phi4mm.errors import CapacityError, InputError
from phi4mm.inference.inputs import adapter_folder, as_audios, as_images, as_list, as_messages
from phi4mm.inference.resolve import device_name, resolve
from phi4mm.inference.stream import Stream
from phi4mm.processing.grammar import grammar_source
from phi4mm.processing.processor import Processor
from phi4mm.processing.tool_calls import as_tool, declared_tools
from phi4mm.protocol.inputs import Adapter, Prompt
from phi4mm.protocol.messages import Tool
from phi4mm.protocol.request import AUTO, NONE, AudioInput, ChatRequest, Content, ImageInput, ResponseFormat, ToolInput
from phi4mm.protocol.response import Reply
from phi4mm.protocol.sampling import ParamsInput, SamplingParams, as_params

KEYWORDS: Final = tuple(field.name for field in fields(ChatRequest))
RETRY_SECONDS: Final = 0.05  # until a batch sends a refused request again

M = TypeVar("M", bound="Model")


class Model:
    """A loaded model. Its methods may be called from any thread and event loop; running requests share each step.

    A model loaded with engine="inline" is for one thread at a time.

    If the engine refuses a request or fails, the error is raised where the answer is read.
    """

    def __init__(
        self,
        client: EngineClient,
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
        self._client = client
        self._numbers = itertools.count()

    def chat(
        self,
        content: Content = "",
        *,
        images: Sequence[ImageInput] | None = (),
        audios: Sequence[AudioInput] | None = (),
        system: str | None = None,
        tools: Sequence[ToolInput] | None = (),
        params: ParamsInput = None,
        response_format: ResponseFormat | None = None,
        tool_choice: str = "auto",
        adapter: Adapter | None = AUTO,
        parallel_tool_calls: bool = True,
        **sampling: Any,
    ) -> Reply:
        """Answer one question, or a conversation of messages; see `ChatRequest`.

        sampling  fields of `SamplingParams`, as in temperature=0.7; they override those of `params`
        raises    InputError
        """
        params = as_params(params, sampling, KEYWORDS)
        request = ChatRequest(
            content,
            images,
            audios,
            system,
            tools,
            params,
            response_format,
            tool_choice,
            adapter,
            parallel_tool_calls,
        )
        return self._ask(request).finish()

    def stream(
        self,
        content: Content = "",
        *,
        images: Sequence[ImageInput] | None = (),
        audios: Sequence[AudioInput] | None = (),
        system: str | None = None,
        tools: Sequence[ToolInput] | None = (),
        params: ParamsInput = None,
        response_format: ResponseFormat | None = None,
        tool_choice: str = "auto",
        adapter: Adapter | None = AUTO,
        parallel_tool_calls: bool = True,
        **sampling: Any,
    ) -> Stream:
        """Like `chat`, piece by piece: iterate over the text, with `for` or `async for`, then read `.reply`."""
        params = as_params(params, sampling, KEYWORDS)
        if params.n > 1:
            raise InputError(f"n is {params.n}, but a stream is one answer; use chat() for several")
        request = ChatRequest(
            content,
            images,
            audios,
            system,
            tools,
            params,
            response_format,
            tool_choice,
            adapter,
            parallel_tool_calls,
        )
        return self._ask(request)

    def batch(self, requests: Iterable[ChatRequest | Content]) -> list[Reply]:
        """Answer requests of any mixture of media and lengths together. Each answer is as if the request were alone.

        A request may also be its content alone: a text, or a list of messages.

        If there are more requests than the queue holds, the rest wait here. Raises the error of the first request that
        fails; the others are then aborted.
        """
        replies: list[Reply] = []
        running: deque[tuple[ChatRequest, Stream]] = deque()
        room = self.settings.engine_args.max_waiting
        try:
            for each in requests if isinstance(requests, Iterator) else as_list("requests", requests):
                request = each if isinstance(each, ChatRequest) else ChatRequest(each)
                while running and sum(other.params.n for other, _ in running) + request.params.n > room:
                    replies.append(self._finish(*running[0]))
                    running.popleft()
                running.append((request, self._ask(request)))
            while running:
                replies.append(self._finish(*running[0]))
                running.popleft()
            return replies
        finally:
            for _, stream in running:
                stream.close()

    def generate(
        self,
        *,
        prompt: str,
        images: Sequence[ImageInput] | None = (),
        audios: Sequence[AudioInput] | None = (),
        params: ParamsInput = None,
        adapter: Adapter | None = AUTO,
        **sampling: Any,
    ) -> Reply:
        """Answer a raw prompt in the published chat format, with media tags such as `<|image_1|>` and `<|audio_1|>`.

        sampling  as for `chat`
        raises    InputError
        """
        params = as_params(params, sampling, KEYWORDS)
        if not isinstance(prompt, str):
            raise InputError(f"prompt is {shown(prompt)}; expected text in the published chat format")
        processed = self.processor.prompt(prompt, images=as_images(images), audios=as_audios(audios))
        return self.submit(processed, params, tools=declared_tools(prompt), adapter=adapter).finish()

    def submit(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        tools: Sequence[Tool] = (),
        grammar: str | None = None,
        adapter: Adapter | None = AUTO,
        eos_ids: Sequence[int] | None = None,
    ) -> Stream:
        """Run a processed prompt. Calls of `tools` are parsed from the answer.

        grammar  source of the grammar that the answer must follow, from `processing.grammar.grammar_source`
        eos_ids  token ids that end the answer; None: those of the checkpoint
        raises   InputError when the request can never run; the stream raises later errors

        With `params.n` above 1 the stream is the first answer, and `finish` returns all of them.
        """
        ends = None if eos_ids is None else tuple(eos_ids)
        request = EngineRequest(f"r{next(self._numbers)}", prompt, params, _adapter_of(prompt, adapter), grammar, ends)
        return Stream(
            self._client, request, self.processor.tokenizer, self._eos_ids if ends is None else ends, tools=tools
        )

    def prompt_logits(self, prompt: Prompt, *, num_tokens: int | None = None, adapter: Adapter | None = AUTO) -> Tensor:
        """Logits of a prompt's own tokens, in the model's dtype and on its device; running answers wait meanwhile.

        num_tokens  how many of the last tokens; None: all
        returns     (num_tokens, V), V the size of the vocabulary
        raises      InputError for a prompt that can never run
        """
        count = len(prompt.ids) if num_tokens is None else min(num_tokens, len(prompt.ids))
        return self._client.prompt_logits(prompt, _adapter_of(prompt, adapter), count)

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """Names of the adapters that a request may use."""
        return self._client.info.adapters

    def add_adapter(self, name: Adapter, folder: str | os.PathLike[str]) -> None:
        """Add the LoRA in a PEFT folder as `name`. Requests may use it from now on; running requests go on.

        raises  ConfigError for a name that is in use or not allowed, CheckpointError for a folder that does not fit
        """
        self._client.add_adapter(name, adapter_folder(name, folder))

    def remove_adapter(self, name: Adapter) -> None:
        """Remove an adapter. Raises ConfigError when there is none of that name, CapacityError while it is in use."""
        self._client.remove_adapter(name)

    def stats(self) -> EngineStats:
        """The state of the engine now: answers, memory, and counters since it started."""
        return self._client.stats()

    @property
    def closed(self) -> bool:
        """Whether the engine has ended: it was closed, or died too often to be started again."""
        return self._client.closed

    def move(self, device: Device) -> None:
        """Put the weights on another device, in their dtype.

        raises  ConfigError when there is no such device, CapacityError while answers are running
        """
        name = resolve(EngineConfig(device_name(device), self.settings.dtype)).device
        self._client.move(name)
        self.settings = replace(self.settings, device=name)

    def close(self) -> None:
        """Stop the engine and free its memory; running answers end with an EngineError. May be called twice."""
        self._client.close()

    def __enter__(self: M) -> M:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: ChatRequest) -> Stream:
        tools = [as_tool(tool) for tool in as_list("tools", request.tools)]
        grammar = grammar_source(request.response_format, tools, request.tool_choice, request.parallel_tool_calls)
        if request.tool_choice == "none":
            tools = []
        prompt = self.processor.chat(as_messages(request), tools=tools)
        return self.submit(prompt, request.params, tools=tools, grammar=grammar, adapter=request.adapter)

    def _finish(self, request: ChatRequest, stream: Stream) -> Reply:
        """The reply. A request that was refused because the queue was full is sent again, unless it can never fit."""
        while True:
            try:
                return stream.finish()
            except CapacityError:
                if request.params.n > self.settings.engine_args.max_waiting:
                    raise
                time.sleep(RETRY_SECONDS)
                stream = self._ask(request)


def _adapter_of(prompt: Prompt, adapter: Adapter | None) -> Adapter | None:
    """The adapter that a request names, "auto" and "none" resolved."""
    return prompt.adapter if adapter == AUTO else None if adapter == NONE else adapter
