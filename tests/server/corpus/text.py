"""Conversations and raw prompts that a serious server must survive, and what must become of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Conversation:
    """Messages in OpenAI's form; `refused` is a pattern of the refusal's words, None where it becomes a prompt."""

    name: str
    messages: list[dict[str, Any]]
    refused: str | None = None


@dataclass(frozen=True)
class Raw:
    """A raw prompt with so many images and audio clips."""

    name: str
    text: str
    images: int = 0
    audios: int = 0
    refused: str | None = None


SPECIAL = ("<|endoftext10|>", "<|endoftext11|>", "<|image_1|>", "<|audio_1|>", "<|end|>", "<|system|>", "<|assistant|>")


def user(content: object) -> list[dict[str, Any]]:
    """One message of a user."""
    return [{"role": "user", "content": content}]


CONVERSATIONS = (
    *(Conversation(f"spells {token}", user(f"a {token} b {token}")) for token in SPECIAL),
    Conversation("NUL", user("a\0b")),
    Conversation("lone surrogate", user("a\ud800b"), "lone surrogate, U\\+D800"),
    Conversation("10 MB of one token", user("a" * 10_000_000), "at least 1250000 tokens, but"),
    Conversation(
        "4 MB of one token", user("a" * 4_000_000), "at least [0-9]+ tokens, but the model's context has 16384"
    ),
    Conversation("a million newlines", user("a" + "\n" * 1_000_000 + "a"), "tokens, but the model's context has 16384"),
    Conversation("right to left", user("\u202e\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627")),
    Conversation("emoji", user("\U0001f469\u200d\U0001f469\u200d\U0001f467" * 50)),
    Conversation("combining marks", user("a" + "\u0301" * 5_000)),
    Conversation("no messages", [], "has no user message; add one"),
    Conversation("only system", [{"role": "system", "content": "Be brief."}], "has no user message"),
    Conversation("two users in a row", [*user("a"), *user("b")]),
    Conversation("assistant first", [{"role": "assistant", "content": "a"}], "has role assistant and is the first"),
    Conversation("system last", [*user("a"), {"role": "system", "content": "b"}], "has role system and follows a user"),
    Conversation("content null", user(None), "is empty; give it text or media"),
    Conversation("content empty", user(""), "is empty; give it text or media"),
    Conversation("unknown role", [{"role": "root", "content": "a"}], "role 'root'"),
    Conversation("a thousand parts", user([{"type": "text", "text": "a"}] * 1_000)),
)

RAW = (
    Raw("as published", "<|user|><|image_1|><|audio_1|>What?<|end|><|assistant|>", 1, 1),
    Raw(
        "a tag without image", "<|user|><|image_3|>What?<|end|><|assistant|>", refused="1 image tags for 0 image items"
    ),
    Raw("an image without tag", "<|user|>What?<|end|><|assistant|>", 1, refused="0 image tags for 1 image items"),
    Raw("more tags than images", "<|user|><|image_1|><|image_2|><|end|>", 1, refused="2 image tags for 1 image"),
    Raw("more images than tags", "<|user|><|image_1|><|end|>", 2, refused="1 image tags for 2 image items"),
    Raw("a tag twice", "<|user|><|image_1|><|image_1|><|end|>", 2),
    Raw("out of order", "<|user|><|image_2|><|image_1|><|end|>", 2, refused="image tag number 1 of the prompt"),
    Raw("kinds mistaken", "<|user|><|audio_1|><|end|>", 1, refused="0 image tags for 1 image items"),
    Raw("a huge number", "<|user|><|image_" + "9" * 5_000 + "|><|end|>", 1),
    Raw("placeholder of a tokenizer", "<|user|><|endoftext10|><|end|>", refused="1 image tags for 0 image items"),
    Raw("half a tag", "<|user|><|image_1<|image_|>|>", 0),
    Raw("unbounded", "<|user|>" + "<|image_1|>" * 50_000, refused="50000 image tags for 0 image items"),
    Raw("empty", ""),
)
