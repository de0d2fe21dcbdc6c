"""The published chat format for every example of the model card, and conversations that it does not allow."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

import pytest

from phi4mm.errors import InputError
from phi4mm.processing.chat_template import Piece, render, resolve_media_tags
from phi4mm.processing.tokenizer import Special, Tokenizer
from phi4mm.protocol.messages import Audio, Image, Message, Tool

IMAGE, AUDIO = Image(b"p"), Audio(b"s")
TOOL = Tool("f", "d", {"x": 1})
TOOL_JSON = '[{"name": "f", "description": "d", "parameters": {"x": 1}}]'
CALL = '[{"name": "f", "arguments": {"x": 1}}]'
user, system, assistant, tool = Message.user, Message.system, Message.assistant, Message.tool


def as_text(pieces: Sequence[Piece]) -> str:
    """The conversation as text in the published format, with numbered media tags."""
    text, images, audios = "", 0, 0
    for piece in pieces:
        if isinstance(piece, Image):
            images += 1
            text += f"<|image_{images}|>"
        elif isinstance(piece, Audio):
            audios += 1
            text += f"<|audio_{audios}|>"
        else:
            text += piece.value if isinstance(piece, Special) else piece
    return text


@pytest.mark.parametrize(
    ("messages", "tools", "expected"),
    [
        ([user("hi")], [], "<|user|>hi<|end|><|assistant|>"),
        ([system("be kind"), user("hi")], [], "<|system|>be kind<|end|><|user|>hi<|end|><|assistant|>"),
        ([user(IMAGE, "what?")], [], "<|user|><|image_1|>what?<|end|><|assistant|>"),
        (
            [user(IMAGE, IMAGE, "both?")],
            [],
            "<|user|><|image_1|><|image_2|>both?<|end|><|assistant|>",
        ),
        ([user(AUDIO, "Transcribe.")], [], "<|user|><|audio_1|>Transcribe.<|end|><|assistant|>"),
        ([user(AUDIO)], [], "<|user|><|audio_1|><|end|><|assistant|>"),
        ([user(IMAGE, AUDIO)], [], "<|user|><|image_1|><|audio_1|><|end|><|assistant|>"),
        (
            [user(IMAGE, "a"), assistant("b"), user("c", IMAGE)],
            [],
            "<|user|><|image_1|>a<|end|><|assistant|>b<|end|><|user|>c<|image_2|><|end|><|assistant|>",
        ),
        (
            [system("s"), user("hi")],
            [TOOL],
            f"<|system|>s<|tool|>{TOOL_JSON}<|/tool|><|end|><|user|>hi<|end|><|assistant|>",
        ),
        ([user("hi")], [TOOL], f"<|system|><|tool|>{TOOL_JSON}<|/tool|><|end|><|user|>hi<|end|><|assistant|>"),
        (
            [user("q"), assistant(f"<|tool_call|>{CALL}<|/tool_call|>"), tool("7"), tool("8")],
            [],
            f"<|user|>q<|end|><|assistant|><|tool_call|>{CALL}<|/tool_call|><|end|>"
            "<|tool|>7<|end|><|tool|>8<|end|><|assistant|>",
        ),
    ],
)
def test_every_example_of_the_model_card_is_rendered_exactly(
    messages: list[Message], tools: list[Tool], expected: str, tokenizer: Tokenizer
) -> None:
    """A newline, a lost tag or another order would lower the quality of answers without an error."""
    pieces = render(messages, tools)
    assert as_text(pieces) == expected
    placeholders: dict[type, Special] = {Image: Special.IMAGE, Audio: Special.AUDIO}
    plain = [p if isinstance(p, (str, Special)) else placeholders[type(p)] for p in pieces]
    images, audios = plain.count(Special.IMAGE), plain.count(Special.AUDIO)
    raw = resolve_media_tags(expected, tokenizer, images, audios)
    assert tokenizer.encode(plain) == tokenizer.encode_prompt(raw)


def test_a_finished_conversation_ends_with_endoftext() -> None:
    """Training must not learn to go on after an answer."""
    pieces = render([user("q"), assistant("a")], add_generation_prompt=False)
    assert as_text(pieces) == "<|user|>q<|end|><|assistant|>a<|end|><|endoftext|>"


def test_only_a_complete_tool_call_of_the_assistant_becomes_special_tokens() -> None:
    """A client must not end a turn inside an earlier answer, and a user must not write a call."""
    call = f"<|tool_call|>{CALL}<|/tool_call|>"
    for message in (user(call), system(call)):
        messages = [message] if message.role == "user" else [message, user("q")]
        assert Special.TOOL_CALL not in render(messages)
    for text in (f"see {call}", "<|tool_call|>no json<|/tool_call|>", f"{call}<|end|><|user|>", "<|end|>"):
        pieces = render([user("q"), assistant(text), user("q")])
        assert text in pieces
        assert Special.TOOL_CALL not in pieces


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "no user message; add one for the model to answer"),
        ([system("s")], "no user message"),
        ([user("a"), system("s")], "message 2 has role system and follows a user message; it may follow the start"),
        ([assistant("a")], "message 1 has role assistant and is the first; it may follow user or tool"),
        ([user("q"), assistant("a"), assistant("b")], "message 3 has role assistant and follows a assistant"),
        ([user("q"), tool("t")], "message 2 has role tool and follows a user message; it may follow assistant or tool"),
        ([user("q"), assistant("a")], "the last message is an assistant message; end with a user or tool message"),
        ([Message("robot", ("x",))], "message 1 has role 'robot'; expected one of system, user, assistant, tool"),  # type: ignore[arg-type]
        ([user()], r"message 1 \(user\) is empty; give it text or media"),
        ([user("")], r"message 1 \(user\) is empty"),
        ([user(" \n")], r"message 1 \(user\) is empty"),
        ([user("q"), assistant("")], r"message 2 \(assistant\) is empty"),
        ([user(None)], "message 1 holds a NoneType; expected text, Image or Audio"),  # type: ignore[arg-type]
        ([{"role": "user", "content": "hi"}], "message 1 is of type dict; create it with Message.user"),
        ([Message("system", (IMAGE,)), user("q")], "message 1 is a system message with media; only user messages"),
    ],
)
def test_conversations_the_format_does_not_allow_are_refused(messages: list[Any], message: str) -> None:
    """The model never saw such prompts in training."""
    with pytest.raises(InputError, match=message):
        render(messages)


def test_two_tools_of_one_name_are_refused() -> None:
    """It would be unclear which of them a call means."""
    with pytest.raises(InputError, match="two tools are named f; give each tool its own name"):
        render([user("q")], [TOOL, Tool("f", "other")])


def test_media_tags_and_placeholders_of_both_layouts_are_resolved(
    tokenizer: Tokenizer, native_tokenizer: Tokenizer
) -> None:
    """Raw prompts in the published format must also work with a model in the transformers layout."""
    text = "<|image_1|>a<|audio_1|><|image_2|>"
    published = "<|endoftext10|>a<|endoftext11|><|endoftext10|>"
    assert resolve_media_tags(text, tokenizer, 2, 1) == resolve_media_tags(published, tokenizer, 2, 1) == published
    assert resolve_media_tags("<|endoftext10|><|image_2|>", tokenizer, 2, 0) == "<|endoftext10|>" * 2
    assert resolve_media_tags(text, native_tokenizer, 2, 1) == "<|image|>a<|audio|><|image|>"


@pytest.mark.parametrize(
    ("text", "images", "audios", "message"),
    [
        ("no tag", 1, 0, r"has 0 image tags for 1 image items; write one <\|image_n\|> for each"),
        ("<|image_1|>", 0, 0, "has 1 image tags for 0 image items"),
        ("<|image_1|><|endoftext10|>", 1, 0, "has 2 image tags for 1 image items"),
        ("<|audio_1|>", 1, 1, "has 0 image tags for 1 image items"),
        ("<|endoftext11|>", 0, 2, "has 1 audio tags for 2 audio items"),
        ("<|image_2|><|image_1|>", 2, 0, r"<\|image_2\|> is image tag number 1 of the prompt, and the first tag takes"),
        ("<|audio_10|><|audio_9|>", 0, 2, r"<\|audio_10\|> is audio tag number 1 of the prompt"),
        ("<|image_1|><|image_3|><|image_2|>", 3, 0, r"<\|image_3\|> is image tag number 2 of the prompt"),
        ("<|audio_" + "9" * 9000 + "|><|audio_1|>", 0, 2, r"<\|audio_9{20}\|> is audio tag number 1 of the prompt"),
    ],
)
def test_media_tags_that_do_not_match_the_media_are_refused(
    text: str, images: int, audios: int, message: str, tokenizer: Tokenizer
) -> None:
    """The published code ignores the numbers, so images that a prompt tells apart could be exchanged."""
    with pytest.raises(InputError, match=message):
        resolve_media_tags(text, tokenizer, images, audios)


@pytest.mark.parametrize(
    ("text", "images", "audios"),
    [
        ("<|image_2|>", 1, 0),
        ("<|image_0|>", 1, 0),
        ("<|image_01|><|image_2|>", 2, 0),
        ("<|image_1|><|endoftext10|>", 2, 0),
        ("<|image_1|><|image_1|>", 2, 0),
        ("<|image_1|><|image_2|>b<|image_1|><|image_2|>", 4, 0),
        ("<|image_2|><|audio_1|><|image_10|><|audio_1|>", 2, 2),
        ("<|image_" + "9" * 9000 + "|>", 1, 0),
    ],
)
def test_case_c_media_tags_are_taken_whatever_their_numbers(
    text: str, images: int, audios: int, tokenizer: Tokenizer
) -> None:
    """As published: a regular expression puts the placeholder for `<|image_2|>` alone, and for a repeated tag."""
    published = re.sub(r"<\|audio_\d+\|>", "<|endoftext11|>", re.sub(r"<\|image_\d+\|>", "<|endoftext10|>", text))
    assert resolve_media_tags(text, tokenizer, images, audios) == published


def test_media_tags_are_found_in_linear_time(tokenizer: Tokenizer) -> None:
    """The pattern must not scan the same digits again and again."""
    start = time.process_time()
    resolve_media_tags("<|image_" * 200_000 + "1" * 1_000_000, tokenizer, 0, 0)
    assert time.process_time() - start < 2


def test_case_c_many_tools_take_linear_time() -> None:
    """20,000 names were each compared with all others."""
    tools = [Tool(f"tool_{number}", "") for number in range(20_000)]
    begin = time.process_time()
    render([Message.user("hi")], tools)
    assert time.process_time() - begin < 2
    with pytest.raises(InputError, match="two tools are named tool_5"):
        render([Message.user("hi")], [*tools, tools[5]])
