"""nano's tokenizer must work wherever the published one does."""

from __future__ import annotations

import json

import pytest

from phi4mm.nano.synth import world
from phi4mm.nano.tokenizer import SPECIAL, train_tokenizer
from phi4mm.processing.tokenizer import Special, Tokenizer


@pytest.fixture(scope="module")
def text() -> str:
    return train_tokenizer(world.TASKS, 30, 512)


def test_every_published_special_string_is_one_token_after_the_text(text: str) -> None:
    """Prevents special tokens among the text tokens, and missing ones."""
    tokenizer = Tokenizer(text.encode())
    assert tokenizer.size <= 512
    assert [added["content"] for added in json.loads(text)["added_tokens"]] == list(SPECIAL)
    assert {special.value for special in Special} <= set(SPECIAL)
    assert tokenizer.id(Special.ENDOFTEXT) == tokenizer.size - len(SPECIAL)


@pytest.mark.parametrize("line", ["The weather in Paris?", "Ärger, 日本 👍\n\n  x\t", '[{"name": "a_b"}]', "\0\x7f"])
def test_any_text_is_decoded_to_itself(text: str, line: str) -> None:
    """Prevents bytes without a token, and lost or added spaces."""
    tokenizer = Tokenizer(text.encode())
    assert tokenizer.decode(tokenizer.encode_text(line)) == line


def test_each_digit_is_one_token(text: str) -> None:
    """Prevents numbers that can be copied only if training contains them."""
    tokenizer = Tokenizer(text.encode())
    ids = tokenizer.encode_text("2048")
    assert [tokenizer.token_bytes(id) for id in ids] == [b"2", b"0", b"4", b"8"]


def test_training_is_deterministic(text: str) -> None:
    """Prevents a tokenizer that differs from run to run and does not fit a saved state."""
    assert train_tokenizer(world.TASKS, 30, 512) == text
