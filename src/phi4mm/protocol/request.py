"""Requests: what the public API takes as a question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from phi4mm.config.validate import shown, text
from phi4mm.errors import InputError
from phi4mm.protocol.inputs import Adapter
from phi4mm.protocol.messages import Audio, Image, MediaSource, Message, Tool
from phi4mm.protocol.sampling import GREEDY, SamplingParams, as_params

Content: TypeAlias = "str | Message | Mapping[str, Any] | Sequence[Message | Mapping[str, Any]]"
ImageInput: TypeAlias = "Image | MediaSource"
AudioInput: TypeAlias = "Audio | MediaSource | tuple[MediaSource, int]"
ToolInput: TypeAlias = "Tool | Mapping[str, Any] | Callable[..., Any]"
AUTO, NONE = "auto", "none"  # the adapter by the published rule; no adapter, like None
MAX_REGEX = 4096  # characters
MAX_CHOICES = 1024
MAX_CHOICE_LENGTH = 1024


@dataclass(frozen=True)
class ResponseFormat:
    """Structured output: what an answer must look like. Exactly one of the four is given.

    schema       a JSON schema; the answer is JSON on one line, with the spaces of json.dumps
    regex        a regular expression for the whole answer, without look-around and back references
    choice       the texts of which the answer is one; a list is made a tuple
    json_object  True: any JSON object, on one line too
    """

    schema: dict[str, Any] | None = None
    regex: str | None = None
    choice: tuple[str, ...] | None = None
    json_object: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.json_object, bool):
            raise InputError(f"json_object is {shown(self.json_object)}; expected True or False")
        given = [field.name for field in fields(self) if getattr(self, field.name) not in (None, False)]
        if len(given) != 1:
            expected = ", ".join(field.name for field in fields(self))
            raise InputError(f"a response format has {' and '.join(given) or 'nothing'}; expected one of {expected}")
        if self.schema is not None and not isinstance(self.schema, dict):
            raise InputError(f"schema is {type(self.schema).__name__}; expected a JSON object, as a dict")
        if self.regex is not None:
            text("regex", self.regex, MAX_REGEX)
            if (len(self.regex) - len(self.regex.rstrip("\\"))) % 2:
                raise InputError("regex ends in a lone backslash; expected a character after it")
        if isinstance(self.choice, list):
            object.__setattr__(self, "choice", tuple(self.choice))
        if self.choice is not None:
            if not isinstance(self.choice, tuple) or not 1 <= len(self.choice) <= MAX_CHOICES:
                found = f"{len(self.choice)} texts" if isinstance(self.choice, tuple) else type(self.choice).__name__
                raise InputError(f"choice is {found}; expected a tuple of 1 to {MAX_CHOICES} texts")
            for choice in self.choice:
                text("a choice", choice, MAX_CHOICE_LENGTH)


@dataclass(frozen=True)
class ChatRequest:
    """One question with its media and settings.

    content          the user's text, or messages (then `images`, `audios` and `system` stay empty): each a `Message`,
                     or a dict in OpenAI's form
    images           paths, bytes, PIL images, arrays; placed before the text
    audios           paths, bytes, or (samples, rate); placed before the text, after the images
    tools            `Tool`, JSON declarations, or Python functions
    params           or a dict of their fields
    response_format  structured output; if there are tools, the answer may be tool calls instead
    tool_choice      "auto": the model decides; "none": no call, the tools are left out of the prompt; "required": at
                     least one call; a tool's name: one call of that tool
    adapter          "auto" follows the published rule (any image: vision; audio alone: speech; text: none); a name
                     selects that adapter, None or "none" no adapter
    parallel_tool_calls  False: at most one call, with which the answer ends
    raises           InputError for a field of another type
    """

    content: Content = ""
    images: Sequence[ImageInput] | None = ()
    audios: Sequence[AudioInput] | None = ()
    system: str | None = None
    tools: Sequence[ToolInput] | None = ()
    params: SamplingParams = GREEDY
    response_format: ResponseFormat | None = None
    tool_choice: str = "auto"
    adapter: Adapter | None = AUTO
    parallel_tool_calls: bool = True

    def __post_init__(self) -> None:
        content: object = self.content
        if isinstance(content, (bytes, bytearray)) or not isinstance(content, (str, Message, Mapping, Sequence)):
            raise InputError(f"content is {shown(content)}; expected text, or a list of messages")
        for name, kinds, expected in (
            ("system", (str, type(None)), "text"),
            ("response_format", (ResponseFormat, type(None)), "phi4mm.ResponseFormat"),
            ("tool_choice", (str,), '"auto", "none", "required", or the name of a tool'),
            ("parallel_tool_calls", (bool,), "True or False"),
            ("adapter", (str, type(None)), 'a name, "auto" or None'),
        ):
            if not isinstance(value := getattr(self, name), kinds):
                raise InputError(f"{name} is {shown(value)}; expected {expected}")
        object.__setattr__(self, "params", as_params(self.params, {}))
