"""The published chat format: messages to pieces of text, special tokens and media; raw prompts checked against media.

One turn is `<|role|>` content `<|end|>`, without newlines. Tools stand in the system turn between `<|tool|>` and
`<|/tool|>`; what a tool returned is a turn of its own that opens with `<|tool_response|>`, the token the vocabulary has
for it (the published template names no other). Images and audio clips stand where the message has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from phi4mm.errors import InputError
from phi4mm.processing.tokenizer import Special, Tokenizer
from phi4mm.processing.tool_calls import parse_tool_calls, tools_json
from phi4mm.protocol.messages import Audio, Image, Message, Tool

Piece: TypeAlias = "str | Special | Image | Audio"

_MARK = {
    "system": Special.SYSTEM,
    "user": Special.USER,
    "assistant": Special.ASSISTANT,
    "tool": Special.TOOL_RESPONSE,
}
_MAY_FOLLOW = {
    "system": ("",),
    "user": ("", "system", "user", "assistant", "tool"),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}


def render(
    messages: Sequence[Message], tools: Sequence[Tool] = (), *, add_generation_prompt: bool = True
) -> list[Piece]:
    """Pieces of a conversation, in order; text is ordinary text, whatever it spells.

    add_generation_prompt  end with `<|assistant|>`, else with `<|endoftext|>` as a finished conversation
    raises                 InputError for a conversation the format does not allow
    """
    _check_conversation(messages, add_generation_prompt)
    declared = _declaration(tools) if tools else None
    pieces: list[Piece] = []
    if declared is not None and messages[0].role != "system":
        pieces += turn(Special.SYSTEM, (), declared)
    for message in messages:
        pieces += turn(_MARK[message.role], _content(message), declared if message.role == "system" else None)
    return [*pieces, ending(add_generation_prompt)]


def turn(mark: Special, content: Iterable[Piece], tools: str | None = None) -> list[Piece]:
    """One turn: its mark, its content, the JSON of the tools that it declares, and its end."""
    declared: list[Piece] = [] if tools is None else [Special.TOOL, tools, Special.TOOL_END]
    return [mark, *content, *declared, Special.END]


def ending(add_generation_prompt: bool) -> Special:
    """What follows the last turn: the beginning of an answer, or the end of a finished conversation."""
    return Special.ASSISTANT if add_generation_prompt else Special.ENDOFTEXT


def resolve_marks(text: str, tokenizer: Tokenizer, images: int, audios: int) -> str:
    """A raw prompt with `<|image_n|>` and `<|audio_n|>` replaced by the placeholders of `tokenizer`.

    Bare placeholders are accepted too. The published code never looks at the numbers; here the n-th mark of a kind must
    carry n, so that nothing is assigned to the wrong mark.
    raises  InputError when a number is out of order, or the marks are not as many as the media
    """
    bare = {"image": tokenizer.spelling(Special.IMAGE), "audio": tokenizer.spelling(Special.AUDIO)}
    count = {"image": 0, "audio": 0}

    def replace(match: re.Match[str]) -> str:
        kind = match[1] or ("image" if match[0] == bare["image"] else "audio")
        count[kind] += 1
        if match[2] and match[2] != str(count[kind]):
            raise InputError(
                f"{match[0][:40]} is the prompt's {kind} tag number {count[kind]}; number the marks 1, 2, ... in order"
            )
        return bare[kind]

    resolved = _marks(tokenizer).sub(replace, text)
    for kind, given in (("image", images), ("audio", audios)):
        if count[kind] != given:
            raise InputError(
                f"the prompt has {count[kind]} {kind} tags and {given} were given; write one <|{kind}_n|> for each"
            )
    return resolved


def count_media_tags(text: str, tokenizer: Tokenizer) -> tuple[int, int]:
    """How many images and audio clips a raw prompt has places for."""
    found = [match[0] for match in _marks(tokenizer).finditer(text)]
    audio = tokenizer.spelling(Special.AUDIO)
    audios = sum(mark == audio or mark.startswith("<|audio_") for mark in found)
    return len(found) - audios, audios


def _marks(tokenizer: Tokenizer) -> re.Pattern[str]:
    bare = (re.escape(tokenizer.spelling(special)) for special in (Special.IMAGE, Special.AUDIO))
    return re.compile(rf"<\|(image|audio)_(\d+)\|>|{'|'.join(bare)}")


def _declaration(tools: Sequence[Tool]) -> str:
    names = [tool.name for tool in tools]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"two tools are named {twice}; each needs a name of its own")
    return tools_json(tools)


def _content(message: Message) -> Iterator[Piece]:
    for part in message.parts:
        if message.role == "assistant" and isinstance(part, str):
            yield from _answer(part)
        else:
            yield part


def _answer(text: str) -> list[Piece]:
    """An earlier answer; the marks of a well-formed tool call in it are the special tokens that the model wrote."""
    if not (text.startswith(Special.TOOL_CALL.value) and parse_tool_calls(text)):
        return [text]
    body = text.strip().removeprefix(Special.TOOL_CALL.value)
    return [Special.TOOL_CALL, body.removesuffix(Special.TOOL_CALL_END.value), Special.TOOL_CALL_END]


def _check_conversation(messages: Sequence[Message], add_generation_prompt: bool) -> None:
    before = ""
    for number, message in enumerate(messages, 1):
        if not isinstance(message, Message) or not isinstance(message.parts, tuple):
            raise InputError(
                f"message {number} is no Message with a tuple of parts; make it with Message.user and so on"
            )
        if message.role not in _MAY_FOLLOW:
            raise InputError(f"message {number} has role {message.role!r}; expected one of {', '.join(_MAY_FOLLOW)}")
        if before not in _MAY_FOLLOW[message.role]:
            place = f"follows a {before} message" if before else "is the first"
            allowed = " or ".join(role or "the start" for role in _MAY_FOLLOW[message.role])
            raise InputError(f"message {number} has role {message.role} and {place}; it may follow {allowed}")
        _check_parts(message, number)
        before = message.role
    if not any(message.role == "user" for message in messages):
        raise InputError("the conversation has no user message; add what the model shall answer")
    if add_generation_prompt and before == "assistant":
        raise InputError("the last message is an assistant message; end with a user or tool message to be answered")


def _check_parts(message: Message, number: int) -> None:
    for part in message.parts:
        if not isinstance(part, (str, Image, Audio)):
            raise InputError(f"message {number} holds a {type(part).__name__}; expected text, Image or Audio")
        if not isinstance(part, str) and message.role != "user":
            raise InputError(f"message {number} is a {message.role} message with media; only user messages hold media")
    if not any(part.strip() if isinstance(part, str) else True for part in message.parts):
        raise InputError(f"message {number} ({message.role}) is empty; give it text or media, or leave it out")
