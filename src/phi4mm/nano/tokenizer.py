"""Trains a byte-level BPE tokenizer like the published one on synthetic conversations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers.trainers import BpeTrainer

from phi4mm.nano.synth import world
from phi4mm.protocol.messages import Image

IMAGES_ONE_IN = 10

# The published special strings, in the published order.
SPECIAL = (
    "<|endoftext|>", "<|endoftext10|>", "<|endoftext11|>", "<|endofprompt|>", "<|assistant|>", "<|end|>", "<|user|>",
    "<|system|>", "<|tool|>", "<|/tool|>", "<|tool_call|>", "<|/tool_call|>", "<|tool_response|>", "<|tag|>",
)  # fmt: skip
# Letters, single digits, signs, line ends, other space. No space is part of a word: it then has the same tokens at the
# start of an answer and after a space, and can be copied token by token.
PIECES = r"\p{L}+|\p{N}|[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+"


def train_tokenizer(tasks: Iterable[str], examples: int, entries: int) -> str:
    """The text of tokenizer.json: at most `entries` tokens, special ones last; trained on `examples` of each task."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = Sequence(
        [Split(Regex(PIECES), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=entries - len(SPECIAL), initial_alphabet=ByteLevel.alphabet(), min_frequency=20, show_progress=False
    )
    tokenizer.train_from_iterator(_texts(tasks, examples), trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    return tokenizer.to_str()


def _texts(tasks: Iterable[str], examples: int) -> Iterator[str]:
    """The texts of the tasks. Of tasks with images, which take time to draw, only one example in IMAGES_ONE_IN."""
    for task in tasks:
        first = world.example("train", 0, task, world.silent)
        images = any(isinstance(part, Image) for message in first.messages for part in message.parts)
        for seed in range(examples // IMAGES_ONE_IN if images else examples):
            example = world.example("train", seed, task, world.silent)
            yield from (part for message in example.messages for part in message.parts if isinstance(part, str))
            yield example.answer
            yield example.spoken
            if example.tools:
                yield json.dumps([asdict(tool) for tool in example.tools])
