"""A small tokenizer built like the published one: byte-level BPE, its pre-tokenizer's pattern, its special tokens."""

from __future__ import annotations

import random

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from phi4mm.processing.image import ImageProcessor
from phi4mm.processing.processor import Processor
from phi4mm.processing.tokenizer import Tokenizer

PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PLAIN_TOKENS = ("<|endoftext|>", "{image}", "{audio}")
ROLE_TOKENS = (
    "<|assistant|>",
    "<|end|>",
    "<|user|>",
    "<|system|>",
    "<|tool|>",
    "<|/tool|>",
    "<|tool_call|>",
    "<|/tool_call|>",
    "<|tool_response|>",
)


def tokenizer_json(
    image: str = "<|endoftext10|>", audio: str = "<|endoftext11|>", leave_out: tuple[str, ...] = ()
) -> bytes:
    """The bytes of a tokenizer.json; role tokens remove the white space after them, as published."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    words = "what is in the image red green blue circle hello world end user weather <| |> tool call".split()
    chooser = random.Random(7)
    tokenizer.train_from_iterator([" ".join(chooser.choices(words, k=2000))], trainer)
    plain = [token.format(image=image, audio=audio) for token in PLAIN_TOKENS]
    tokenizer.add_special_tokens(
        [tokenizers.AddedToken(token, normalized=False) for token in plain if token not in leave_out]
    )
    # Some of the published role tokens are added tokens without the flag `special`; they still match in text.
    tokenizer.add_tokens(
        [
            tokenizers.AddedToken(token, normalized=False, rstrip=True, special="tool" not in token)
            for token in ROLE_TOKENS
            if token not in leave_out
        ]
    )
    return tokenizer.to_str().encode()


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer(tokenizer_json())


@pytest.fixture(scope="session")
def native_tokenizer() -> Tokenizer:
    return Tokenizer(tokenizer_json("<|image|>", "<|audio|>"))


@pytest.fixture(scope="session")
def processor(tokenizer: Tokenizer) -> Processor:
    """A processor with the published image sizes and a context of 4096 tokens."""
    return Processor(tokenizer, ImageProcessor(), 4096)
