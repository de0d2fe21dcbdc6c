"""Added tokens of a checkpoint's tokenizer_config.json, which add to those of tokenizer.json or override them."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import tokenizers

from phi4mm.config.json_file import read_json
from phi4mm.config.validate import shown, text
from phi4mm.errors import ConfigError, InputError

AddedTokens: TypeAlias = "dict[int, tokenizers.AddedToken]"
MAX_TOKENS = 4096  # each is searched for in every text
MAX_LENGTH = 256  # characters of a token
_FLAGS = ("lstrip", "normalized", "rstrip", "single_word", "special")
_KEYS = {"content", "__type", *_FLAGS}


def read_added_tokens(path: Path) -> AddedTokens:
    """The tokens of `added_tokens_decoder` by id, in the order of ids; empty without the file. Raises ConfigError."""
    stated = read_json(path).get("added_tokens_decoder", {}) if path.exists() else {}
    if not isinstance(stated, dict):
        raise ConfigError(f"{path}: added_tokens_decoder is {shown(stated)}; expected an object of ids and tokens")
    if len(stated) > MAX_TOKENS:
        raise ConfigError(f"{path}: added_tokens_decoder has {len(stated)} tokens; expected at most {MAX_TOKENS}")
    tokens: AddedTokens = {}
    for id, token in stated.items():
        if not (id.isascii() and id.isdecimal() and len(id) < 10 and id == str(int(id))):
            raise ConfigError(f"{path}: added_tokens_decoder has the id {shown(id)}; expected a whole number")
        tokens[int(id)] = _token(f"{path}: added token {id}", token)
    return dict(sorted(tokens.items()))


def add_tokens(tokenizer: tokenizers.Tokenizer, tokens: AddedTokens) -> None:
    """Add tokens to a tokenizer. As in transformers, one that it has gets the new flags and keeps its id.

    raises  ConfigError for a token that gets, or has, another id than the stated one
    """
    tokenizer.add_tokens(list(tokens.values()))
    for id, token in tokens.items():
        found = tokenizer.token_to_id(token.content)
        if found != id:
            raise ConfigError(
                f"tokenizer_config.json gives added token {shown(token.content)} the id {id}, but in tokenizer.json "
                f"its id is or would be {found}; expected two files of one checkpoint, so take both from the same place"
            )


def _token(name: str, stated: object) -> tokenizers.AddedToken:
    if not isinstance(stated, dict) or not stated.keys() <= _KEYS:
        raise ConfigError(f"{name} is {shown(stated)}; expected its content and the flags {', '.join(_FLAGS)}")
    flags = {key: value for key, value in stated.items() if key in _FLAGS}
    if not all(isinstance(value, bool) for value in flags.values()):
        raise ConfigError(f"{name} is {shown(stated)}; expected true or false for the flags {', '.join(_FLAGS)}")
    try:
        text(f"the content of {name}", stated.get("content"), MAX_LENGTH)
    except InputError as error:
        raise ConfigError(str(error)) from None
    return tokenizers.AddedToken(stated["content"], **flags)
