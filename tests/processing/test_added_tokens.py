"""tokenizer_config.json beside tokenizer.json: its added tokens count as they do in transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from phi4mm.errors import ConfigError
from phi4mm.inference.load import load_processor
from phi4mm.processing.tokenizer import Special, Tokenizer
from tests.processing.conftest import tokenizer_json

TEXT = "<|user|> hello <|tag|> world<|end|><|image_1|>"


def folder_with(folder: Path, tokens: object) -> Path:
    (folder / "tokenizer.json").write_bytes(tokenizer_json())
    stated = {"added_tokens_decoder": tokens, "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 131072}
    (folder / "tokenizer_config.json").write_text(json.dumps(stated))
    return folder


def token(content: str, **flags: bool) -> dict[str, Any]:
    names = ("lstrip", "normalized", "rstrip", "single_word", "special")
    return {"content": content} | {name: flags.get(name, False) for name in names}


def test_case_c_tokenizer_config_adds_tokens_and_overrides_flags(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """Otherwise a role token would remove, or keep, the white space after it, and `<|tag|>` would be read as text."""
    user, new = tokenizer.id(Special.USER), tokenizer.size
    folder_with(tmp_path, {str(new): token("<|tag|>", special=True), str(user): token("<|user|>")})
    own = Tokenizer.from_folder(tmp_path)
    assert own.is_special(new)
    assert own.largest_id == new == tokenizer.largest_id + 1
    ids = own.encode_prompt(TEXT)
    assert own.encode_prompt("<|user|> hello") == [user, *own.encode_text(" hello")]
    assert tokenizer.encode_prompt("<|user|> hello") == [user, *own.encode_text("hello")]
    assert new in ids
    assert new not in own.encode_text(TEXT)
    assert own.encode([Special.USER, " hello"]) == own.encode_prompt("<|user|> hello")
    transformers = pytest.importorskip("transformers")
    assert ids == transformers.AutoTokenizer.from_pretrained(tmp_path).encode(TEXT)


def test_without_the_file_or_its_table_the_tokenizer_is_that_of_tokenizer_json(tmp_path: Path) -> None:
    """Older folders have none, and transformers writes tables that repeat tokenizer.json."""
    plain = Tokenizer(tokenizer_json())
    repeated = {
        str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in json.loads(tokenizer_json())["added_tokens"]
    }
    for tokens in ({}, repeated):
        assert Tokenizer.from_folder(folder_with(tmp_path, tokens)).encode_prompt(TEXT) == plain.encode_prompt(TEXT)
    (tmp_path / "tokenizer_config.json").unlink()
    assert Tokenizer.from_folder(tmp_path).encode_prompt(TEXT) == plain.encode_prompt(TEXT)


@pytest.mark.parametrize(
    ("tokens", "error"),
    [
        ([], r"added_tokens_decoder is \[\]; expected an object"),
        ({"x": token("<|tag|>")}, "added_tokens_decoder has the id 'x'; expected a whole number"),
        ({"9" * 5000: token("<|tag|>")}, "has the id '9{59}; expected a whole number"),
        ({"07": token("<|tag|>")}, "has the id '07'; expected a whole number"),
        ({str(n): token(f"<{n}>") for n in range(4097)}, "added_tokens_decoder has 4097 tokens; expected at most 4096"),
        (
            {"0": token("<|tag|>")},
            r"gives added token '<\|tag\|>' the id 0, but in tokenizer.json its id is or would be \d+",
        ),
        (
            {"7": token("<|user|>")},
            r"gives added token '<\|user\|>' the id 7, but in tokenizer.json its id is or would be",
        ),
        ({"0": "<|tag|>"}, r"added token 0 is '<\|tag\|>'; expected its content and the flags lstrip, normalized"),
        ({"0": token("<|tag|>") | {"strip": True}}, "added token 0 is .{60}; expected its content and the flags"),
        (
            {"0": token("<|tag|>") | {"rstrip": 1}},
            "added token 0 is .{60}; expected true or false for the flags lstrip",
        ),
        ({"0": {"rstrip": True}}, "content of .* added token 0 is NoneType; expected text"),
        ({"0": token("")}, "added token 0 has 0 characters; expected 1 to 256"),
        ({"0": token("x" * 257)}, "added token 0 has 257 characters; expected 1 to 256"),
        ({"0": token("\ud800")}, "added token 0 holds a lone surrogate"),
    ],
)
def test_impossible_added_tokens_are_refused(tmp_path: Path, tokens: object, error: str) -> None:
    """transformers gives a token another id than the stated one without a word."""
    with pytest.raises(ConfigError, match=error):
        Tokenizer.from_folder(folder_with(tmp_path, tokens))


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(small_folder: Path, tmp_path: Path) -> None:
    """An id without an embedding would fail inside torch, in the middle of a batch."""
    new = Tokenizer(tokenizer_json()).size
    folder_with(tmp_path, {str(new): token("<|tag|>")})
    (tmp_path / "config.json").symlink_to(small_folder / "config.json")
    with pytest.raises(
        ConfigError, match=f"the tokenizer has ids up to {new}, but vocab_size of config.json is {new};"
    ):
        load_processor(tmp_path)
