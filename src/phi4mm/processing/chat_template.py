"""The published chat format: messages to pieces (text, special tokens, media), and the media tags of raw prompts.

One turn is `<|role|>` content `<|end|>`, without newlines. Tools are declared in the system turn between `<|tool|>` and
`<|/tool|>`. The result of a tool is a turn that begins with `<|tool|>` too: the published template writes the name of
every role. Images and audio clips come where the message has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from phi4mm.config.validate import shown
from phi4mm.errors import InputError
from phi4mm.processing.tokenizer import Special, Tokenizer
from phi4mm.processing.tool_calls import parse_tool_calls, tools_json
from phi4mm.protocol.messages import Audio, Image, Message, Tool

Piece: TypeAlias = "str | Special | Image | Audio"

ROLE_TOKEN = {
    "system": Special.SYSTEM,
    "user": Special.USER,
    "assistant": Special.ASSISTANT,
    "tool": Special.TOOL,
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
    """Convert a conversation to pieces, in order. Special tokens that are spelled in a text remain text.

    add_generation_prompt  True ends with `<|assistant|>`, False with `<|endoftext|>`
    raises                 InputError for a conversation that the format does not allow
    """
    _check_conversation(messages, add_generation_prompt)
    declared = _declaration(tools) if tools else None
    pieces: list[Piece] = []
    if declared is not None and messages[0].role != "system":
        pieces += turn(Special.SYSTEM, (), declared)
    for message in messages:
        pieces += turn(ROLE_TOKEN[message.role], _content(message), declared if message.role == "system" else None)
    return [*pieces, ending(add_generation_prompt)]


def turn(role_token: Special, content: Iterable[Piece], tools: str | None = None) -> list[Piece]:
    """One turn: the token of its role, its content, the JSON of the tools it declares, and `<|end|>`."""
    declared: list[Piece] = [] if tools is None else [Special.TOOL, tools, Special.TOOL_END]
    return [role_token, *content, *declared, Special.END]


def ending(add_generation_prompt: bool) -> Special:
    """The token after the last turn: `<|assistant|>` begins an answer, `<|endoftext|>` ends the conversation."""
    return Special.ASSISTANT if add_generation_prompt else Special.ENDOFTEXT


def resolve_media_tags(text: str, tokenizer: Tokenizer, images: int, audios: int) -> str:
    """Replace `<|image_n|>` and `<|audio_n|>` in a raw prompt by the placeholders of `tokenizer`.

    As published, the numbers have no meaning: the first tag of a kind stands for the first item, whatever its number,
    and placeholders themselves are accepted too.
    raises  InputError if the number of tags differs from that of the media, or if the tags of a kind have different
            numbers that are not in order: such numbers mean items that they would not get
    """
    placeholders = {"image": tokenizer.spelling(Special.IMAGE), "audio": tokenizer.spelling(Special.AUDIO)}
    tags: dict[str, list[str]] = {"image": [], "audio": []}

    def replace(match: re.Match[str]) -> str:
        kind = match[1] or ("image" if match[0] == placeholders["image"] else "audio")
        tags[kind].append(match[2] or "")
        return placeholders[kind]

    resolved = _tag_pattern(tokenizer).sub(replace, text)
    for kind, given in (("image", images), ("audio", audios)):
        found = tags[kind]
        if len(found) != given:
            raise InputError(
                f"the prompt has {len(found)} {kind} tags for {given} {kind} items; "
                f"write one <|{kind}_n|> for each item"
            )
        numbers = [number for number in found if number]
        in_order = sorted(numbers, key=lambda digits: (len(digits.lstrip("0")), digits.lstrip("0")))
        if numbers != in_order and len(set(numbers)) == len(numbers):
            wrong = next(a for a, b in zip(numbers, in_order, strict=True) if a != b)
            raise InputError(
                f"<|{kind}_{wrong:.20}|> is {kind} tag number {found.index(wrong) + 1} of the prompt, and the first "
                "tag takes the first item, whatever its number; put the tags and their items in one order"
            )
    return resolved


def count_media_tags(text: str, tokenizer: Tokenizer) -> tuple[int, int]:
    """The numbers of image tags and of audio tags in a raw prompt."""
    tags = [match[0] for match in _tag_pattern(tokenizer).finditer(text)]
    audio = tokenizer.spelling(Special.AUDIO)
    audios = sum(tag == audio or tag.startswith("<|audio_") for tag in tags)
    return len(tags) - audios, audios


def _tag_pattern(tokenizer: Tokenizer) -> re.Pattern[str]:
    placeholders = (re.escape(tokenizer.spelling(special)) for special in (Special.IMAGE, Special.AUDIO))
    return re.compile(rf"<\|(image|audio)_(\d+)\|>|{'|'.join(placeholders)}")


def _declaration(tools: Sequence[Tool]) -> str:
    names: set[str] = set()
    for tool in tools:
        if tool.name in names:
            raise InputError(f"two tools are named {tool.name}; give each tool its own name")
        names.add(tool.name)
    return tools_json(tools)


def _content(message: Message) -> Iterator[Piece]:
    for part in message.parts:
        if message.role == "assistant" and isinstance(part, str):
            yield from _answer(part)
        else:
            yield part


def _answer(text: str) -> list[Piece]:
    """An earlier answer. If it is a well-formed tool call, its tags become special tokens again."""
    if not (text.startswith(Special.TOOL_CALL.value) and parse_tool_calls(text)):
        return [text]
    body = text.strip().removeprefix(Special.TOOL_CALL.value)
    return [Special.TOOL_CALL, body.removesuffix(Special.TOOL_CALL_END.value), Special.TOOL_CALL_END]


def _check_conversation(messages: Sequence[Message], add_generation_prompt: bool) -> None:
    before = ""
    for number, message in enumerate(messages, 1):
        if not isinstance(message, Message):
            raise InputError(f"message {number} is of type {type(message).__name__}; create it with Message.user")
        if not isinstance(message.role, str) or message.role not in _MAY_FOLLOW:
            raise InputError(
                f"message {number} has role {shown(message.role)}; expected one of {', '.join(_MAY_FOLLOW)}"
            )
        if before not in _MAY_FOLLOW[message.role]:
            position = f"follows a {before} message" if before else "is the first"
            allowed = " or ".join(role or "the start" for role in _MAY_FOLLOW[message.role])
            raise InputError(f"message {number} has role {message.role} and {position}; it may follow {allowed}")
        _check_parts(message, number)
        before = message.role
    if not any(message.role == "user" for message in messages):
        raise InputError("the conversation has no user message; add one for the model to answer")
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
