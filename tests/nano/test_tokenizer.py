"""nano's tokenizer must be usable where the published one is."""

from __future__ import annotations

import json

import pytest

from phi4mm.nano.tokenizer import SPECIAL, train_tokenizer
from phi4mm.processing.tokenizer import Special, Tokenizer


@pytest.fixture(scope="module")
def text() -> str:
    return train_tokenizer(30, 512)


def test_every_published_special_string_is_one_token_after_the_text(text: str) -> None:
    """Prevents special ids inside the text vocabulary, and a missing one that processing refuses."""
    tokenizer = Tokenizer(text.encode())
    assert tokenizer.size <= 512
    assert [added["content"] for added in json.loads(text)["added_tokens"]] == list(SPECIAL)
    assert {special.value for special in Special} <= set(SPECIAL)
    assert tokenizer.id(Special.ENDOFTEXT) == tokenizer.size - len(SPECIAL)


@pytest.mark.parametrize("line", ["The weather in Paris?", "Ärger, 日本 👍\n\n  x\t", '[{"name": "a_b"}]', "\0\x7f"])
def test_any_text_comes_back_as_it_was(text: str, line: str) -> None:
    """Prevents bytes without a token, and spaces lost or added."""
    tokenizer = Tokenizer(text.encode())
    assert tokenizer.decode(tokenizer.encode_text(line)) == line


def test_digits_are_tokens_of_their_own(text: str) -> None:
    """Prevents numbers that can only be copied when seen whole in training."""
    tokenizer = Tokenizer(text.encode())
    ids = tokenizer.encode_text("2048")
    assert [tokenizer.token_bytes(id) for id in ids] == [b"2", b"0", b"4", b"8"]


def test_training_is_a_function_of_its_numbers(text: str) -> None:
    """Prevents a tokenizer that differs from run to run and fits no saved state."""
    assert train_tokenizer(30, 512) == text
