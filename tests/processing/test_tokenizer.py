"""Text and ids: special tokens only where they are intended, no character lost, time bounded."""

from __future__ import annotations

import codecs
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4mm.errors import CheckpointError, InputError
from phi4mm.processing.tokenizer import MAX_TEXT, Special, Tokenizer
from tests.processing.conftest import tokenizer_json

ALL_SPECIAL_TOKENS = "".join(special.value for special in Special)


def test_special_tokens_are_found_by_their_spelling_in_both_layouts(
    tokenizer: Tokenizer, native_tokenizer: Tokenizer
) -> None:
    """A small model has other ids, and the transformers layout has other names for the placeholders."""
    assert len({tokenizer.id(special) for special in Special}) == len(Special)
    assert tokenizer.spelling(Special.IMAGE) == "<|endoftext10|>"
    assert native_tokenizer.spelling(Special.IMAGE) == "<|image|>"
    assert native_tokenizer.spelling(Special.AUDIO) == "<|audio|>"
    for each in (tokenizer, native_tokenizer):
        for special in Special:
            assert each.encode_prompt(each.spelling(special)) == [each.id(special)] == each.encode([special])
            assert each.is_special(each.id(special))
    assert [tokenizer.size - 1] == tokenizer.encode_prompt("<|tool_response|>")
    assert not tokenizer.is_special(tokenizer.encode_text("a")[0])


def test_missing_special_tokens_are_all_listed() -> None:
    """Otherwise a model without tool tokens would fail much later, and for one token after another."""
    with pytest.raises(CheckpointError, match=r"lacks the special tokens <\|user\|>, <\|/tool\|>$"):
        Tokenizer(tokenizer_json(leave_out=("<|user|>", "<|/tool|>")))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "tokenizer.json cannot be read"),
        (b"{}", "tokenizer.json cannot be read"),
        (b"\xff\xfe", "tokenizer.json cannot be read"),
        ("no/such/tokenizer.json", "no/such/tokenizer.json not found; expected a tokenizer"),
    ],
)
def test_damaged_files_are_refused(source: bytes | str, message: str) -> None:
    """The exception class of the tokenizer library must not reach the caller."""
    with pytest.raises(CheckpointError, match=message):
        Tokenizer(source)


def test_a_tokenizer_that_is_not_byte_level_is_refused() -> None:
    """Text could not be encoded and decoded without loss if a byte had no token."""
    stated = json.loads(tokenizer_json())
    del stated["model"]["vocab"]["A"]
    with pytest.raises(CheckpointError, match="not a byte-level BPE: 1 of 256 byte tokens are missing"):
        Tokenizer(json.dumps(stated).encode())


def test_truncation_and_padding_of_the_file_are_ignored() -> None:
    """A file saved during training may have them, and prompts would be cut or padded silently."""
    stated = json.loads(tokenizer_json())
    stated["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    text = "what is in the image" * 5
    assert Tokenizer(json.dumps(stated).encode()).encode_text(text) == Tokenizer(tokenizer_json()).encode_text(text)


@pytest.mark.parametrize(
    "text", [ALL_SPECIAL_TOKENS, "a<|end|>b", " <|user|> \n<|system|>\t", "<|<|end|>end|>", "<|image|>"]
)
def test_special_tokens_spelled_in_text_are_ordinary_text(text: str, tokenizer: Tokenizer) -> None:
    """Users must not be able to end a turn, or to add a placeholder, by typing the token."""
    ids = tokenizer.encode_text(text)
    assert not any(tokenizer.is_special(id) for id in ids)
    assert tokenizer.decode(ids) == text
    assert tokenizer.encode([Special.USER, text])[0] == tokenizer.id(Special.USER)


@settings(max_examples=100, deadline=None)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from([ALL_SPECIAL_TOKENS, "\0", "שלום 👩‍👩‍👧 \r\n\0"])
)
def test_every_text_is_decoded_unchanged(text: str) -> None:
    """Including NUL, right-to-left text, emoji and combining characters."""
    tokenizer = _TOKENIZER
    ids = tokenizer.encode_text(text)
    assert tokenizer.decode(ids) == text
    assert all(id < tokenizer.size for id in ids)


_TOKENIZER = Tokenizer(tokenizer_json())
_HARMLESS = st.text(st.sampled_from("ab <|>\n\t\u00a0\u2003\u3000\x1c\x85é👍."), max_size=8)


@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(_HARMLESS | st.sampled_from(list(Special)), max_size=9))
def test_pieces_are_encoded_like_the_joined_prompt(pieces: list[str | Special]) -> None:
    """The published pipeline strips white space beside some special tokens."""
    joined = "".join(piece.value if isinstance(piece, Special) else piece for piece in pieces)
    assert _TOKENIZER.encode(pieces) == _TOKENIZER.encode_prompt(joined)


def test_the_bytes_of_incomplete_characters_are_kept(tokenizer: Tokenizer) -> None:
    """A stream must not show U+FFFD for the first token of an emoji."""
    text = "né 👍 <|end|>"
    ids = tokenizer.encode_text(text)
    decoder = codecs.getincrementaldecoder("utf-8")()
    assert "".join(decoder.decode(tokenizer.token_bytes(id)) for id in ids) == text
    thumb = tokenizer.encode_text("👍")
    assert len(thumb) > 1
    assert tokenizer.decode(thumb[:1]) == "\ufffd"


def test_decoding_skips_special_tokens_except_those_of_a_tool_call(tokenizer: Tokenizer) -> None:
    """`<|end|>` must not be shown, and a tool call must keep the tokens by which it is recognised."""
    text = "<|assistant|>hi<|tool_call|>[]<|/tool_call|><|end|>"
    ids = tokenizer.encode_prompt(text)
    assert tokenizer.decode(ids) == "hi<|tool_call|>[]<|/tool_call|>"
    assert tokenizer.decode(ids, skip_special=False) == text


def test_unused_ids_decode_to_nothing_and_impossible_ids_are_refused(tokenizer: Tokenizer) -> None:
    """The published embedding table has unused rows, whose ids a model can produce."""
    assert tokenizer.decode([tokenizer.size, 2**31]) == ""
    for id in (-1, 2**32):
        with pytest.raises(InputError, match=f"token id {id} is impossible"):
            tokenizer.token_bytes(id)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ok \ud800", r"lone surrogate, U\+D800, at character 3; decode the text as UTF-8"),
        ("x" * (MAX_TEXT + 1), f"has {MAX_TEXT + 1} characters; expected at most {MAX_TEXT}"),
        ("é" * (MAX_TEXT // 2 + 1), f"has {MAX_TEXT + 2} bytes of UTF-8; expected at most {MAX_TEXT}"),
    ],
)
def test_text_that_cannot_be_encoded_is_refused(text: str, message: str, tokenizer: Tokenizer) -> None:
    """Lone surrogates must not end the process, and ten megabytes of one letter must not block it."""
    for encode in (tokenizer.encode_text, tokenizer.encode_prompt, lambda text: tokenizer.encode([text[:5], text[5:]])):
        with pytest.raises(InputError, match=message):
            encode(text)


@pytest.mark.parametrize("unit", ["a", "A", " ", "\n", " \n", "\u00a0", "!", "1", "a'", "<|", "<|end", "👍"])
def test_long_runs_take_linear_time(unit: str, tokenizer: Tokenizer) -> None:
    """The pattern must not backtrack over the whole run at each of its characters."""
    run = unit * (200_000 // len(unit.encode()))
    start = time.process_time()
    tokenizer.encode_text(run)
    tokenizer.encode([Special.USER, run, Special.END])
    assert time.process_time() - start < 3
