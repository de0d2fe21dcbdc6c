"""Text and ids: special tokens only where they are meant, no character lost, nothing endless."""

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

EVERY_MARK = "".join(special.value for special in Special)


def test_special_ids_are_read_by_their_spelling_in_both_layouts(
    tokenizer: Tokenizer, native_tokenizer: Tokenizer
) -> None:
    """Prevents id constants: a small model has other ids, and transformers' layout other names of the placeholders."""
    assert len({tokenizer.id(special) for special in Special}) == len(Special)
    assert tokenizer.spelling(Special.IMAGE) == "<|endoftext10|>"
    assert native_tokenizer.spelling(Special.IMAGE) == "<|image|>"
    assert native_tokenizer.spelling(Special.AUDIO) == "<|audio|>"
    for some in (tokenizer, native_tokenizer):
        for special in Special:
            assert some.encode_prompt(some.spelling(special)) == [some.id(special)] == some.encode([special])
            assert some.is_special(some.id(special))
    assert tokenizer.size == max(tokenizer.id(special) for special in Special) + 1
    assert not tokenizer.is_special(tokenizer.encode_text("a")[0])


def test_missing_special_tokens_are_all_listed() -> None:
    """Prevents a model without tool tokens from failing much later, one token at a time."""
    with pytest.raises(CheckpointError, match=r"lacks the special tokens <\|user\|>, <\|/tool\|>$"):
        Tokenizer(tokenizer_json(leave_out=("<|user|>", "<|/tool|>")))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "tokenizer.json cannot be read"),
        (b"{}", "tokenizer.json cannot be read"),
        (b"\xff\xfe", "tokenizer.json cannot be read"),
        ("no/such/tokenizer.json", "no/such/tokenizer.json cannot be read: No such file"),
    ],
)
def test_damaged_files_are_refused(source: bytes | str, message: str) -> None:
    """Prevents the tokenizer library's own exception class from escaping."""
    with pytest.raises(CheckpointError, match=message):
        Tokenizer(source)


def test_a_tokenizer_that_is_not_byte_level_is_refused() -> None:
    """Prevents text from being lost on the way back when a byte has no token."""
    stated = json.loads(tokenizer_json())
    del stated["model"]["vocab"]["A"]
    with pytest.raises(CheckpointError, match="not a byte-level BPE: 1 of 256 byte tokens are missing"):
        Tokenizer(json.dumps(stated).encode())


def test_truncation_and_padding_of_the_file_are_ignored() -> None:
    """Prevents a prompt from being cut or padded in silence because a file was saved in mid-training."""
    stated = json.loads(tokenizer_json())
    stated["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    text = "what is in the image" * 5
    assert Tokenizer(json.dumps(stated).encode()).encode_text(text) == Tokenizer(tokenizer_json()).encode_text(text)


@pytest.mark.parametrize("text", [EVERY_MARK, "a<|end|>b", " <|user|> \n<|system|>\t", "<|<|end|>end|>", "<|image|>"])
def test_special_tokens_spelled_in_text_are_ordinary_text(text: str, tokenizer: Tokenizer) -> None:
    """Prevents a person from closing the turn, or naming an image that is not there, by typing the mark."""
    ids = tokenizer.encode_text(text)
    assert not any(tokenizer.is_special(id) for id in ids)
    assert tokenizer.decode(ids) == text
    assert tokenizer.encode([Special.USER, text])[0] == tokenizer.id(Special.USER)


@settings(max_examples=100, deadline=None)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from([EVERY_MARK, "\0", "שלום 👩‍👩‍👧 \r\n\0"])
)
def test_every_text_comes_back_whole(text: str) -> None:
    """Prevents NUL, right-to-left text, emoji and combining marks from being changed."""
    tokenizer = _TOKENIZER
    ids = tokenizer.encode_text(text)
    assert tokenizer.decode(ids) == text
    assert all(id < tokenizer.size for id in ids)


_TOKENIZER = Tokenizer(tokenizer_json())
_HARMLESS = st.text(st.sampled_from("ab <|>\n\t\u00a0\u2003\u3000\x1c\x85é👍."), max_size=8)


@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(_HARMLESS | st.sampled_from(list(Special)), max_size=9))
def test_pieces_equal_the_joined_prompt(pieces: list[str | Special]) -> None:
    """Prevents a difference from the published pipeline, which strips white space beside some marks."""
    joined = "".join(piece.value if isinstance(piece, Special) else piece for piece in pieces)
    assert _TOKENIZER.encode(pieces) == _TOKENIZER.encode_prompt(joined)


def test_half_characters_are_bytes_until_they_are_whole(tokenizer: Tokenizer) -> None:
    """Prevents a stream from showing U+FFFD for the first token of an emoji."""
    text = "né 👍 <|end|>"
    ids = tokenizer.encode_text(text)
    decoder = codecs.getincrementaldecoder("utf-8")()
    assert "".join(decoder.decode(tokenizer.token_bytes(id)) for id in ids) == text
    thumb = tokenizer.encode_text("👍")
    assert len(thumb) > 1
    assert tokenizer.decode(thumb[:1]) == "\ufffd"


def test_decoding_skips_the_marks_of_the_format_but_not_a_tool_call(tokenizer: Tokenizer) -> None:
    """Prevents `<|end|>` from being shown, and a tool call from losing the marks by which it is found."""
    text = "<|assistant|>hi<|tool_call|>[]<|/tool_call|><|end|>"
    ids = tokenizer.encode_prompt(text)
    assert tokenizer.decode(ids) == "hi<|tool_call|>[]<|/tool_call|>"
    assert tokenizer.decode(ids, skip_special=False) == text


def test_ids_without_a_token_are_empty_and_impossible_ones_refused(tokenizer: Tokenizer) -> None:
    """Prevents a crash on the unused rows of the published embedding table."""
    assert tokenizer.decode([tokenizer.size, 2**31]) == ""
    for id in (-1, 2**32):
        with pytest.raises(InputError, match=f"token id {id} is impossible"):
            tokenizer.token_bytes(id)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ok \ud800", r"lone surrogate, U\+D800, at character 3; decode it as UTF-8"),
        ("x" * (MAX_TEXT + 1), f"has {MAX_TEXT + 1} characters; at most {MAX_TEXT}"),
        ("é" * (MAX_TEXT // 2 + 1), f"has {MAX_TEXT + 2} bytes of UTF-8; at most {MAX_TEXT}"),
    ],
)
def test_text_that_cannot_be_encoded_is_refused(text: str, message: str, tokenizer: Tokenizer) -> None:
    """Prevents lone surrogates from ending the process, and ten megabytes of one letter from occupying it."""
    for encode in (tokenizer.encode_text, tokenizer.encode_prompt, lambda text: tokenizer.encode([text[:5], text[5:]])):
        with pytest.raises(InputError, match=message):
            encode(text)


@pytest.mark.parametrize("unit", ["a", "A", " ", "\n", " \n", "\u00a0", "!", "1", "a'", "<|", "<|end", "👍"])
def test_long_runs_take_linear_time(unit: str, tokenizer: Tokenizer) -> None:
    """Prevents a pattern that backtracks over the whole run at each of its characters."""
    run = unit * (200_000 // len(unit.encode()))
    start = time.process_time()
    tokenizer.encode_text(run)
    tokenizer.encode([Special.USER, run, Special.END])
    assert time.process_time() - start < 3
