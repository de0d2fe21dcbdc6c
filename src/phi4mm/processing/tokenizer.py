"""Text to token ids and back, with tokenizer.json and the added tokens of tokenizer_config.json.

Special tokens are found by their spelling.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import groupby
from pathlib import Path

import tokenizers

from phi4mm.config.json_file import regular_file_bytes
from phi4mm.config.validate import refuse_lfs_pointer
from phi4mm.errors import CheckpointError, InputError
from phi4mm.processing.added_tokens import AddedTokens, add_tokens, read_added_tokens

MAX_FILE = 128 * 2**20  # bytes of tokenizer.json
MAX_TEXT = 4 * 2**20  # bytes of UTF-8 in one prompt; bounds the time of the pre-tokenizer's patterns
# A special token with the flag `rstrip` removes these after it: Unicode's White_Space; str.strip() removes more.
_WHITESPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


class Special(Enum):
    """The special tokens of the chat format, by their published spelling."""

    ENDOFTEXT = "<|endoftext|>"
    IMAGE = "<|endoftext10|>"
    AUDIO = "<|endoftext11|>"
    END = "<|end|>"
    USER = "<|user|>"
    ASSISTANT = "<|assistant|>"
    SYSTEM = "<|system|>"
    TOOL = "<|tool|>"
    TOOL_END = "<|/tool|>"
    TOOL_CALL = "<|tool_call|>"
    TOOL_CALL_END = "<|/tool_call|>"


# The transformers layout renames the two placeholders.
_OTHER_SPELLING = {Special.IMAGE: "<|image|>", Special.AUDIO: "<|audio|>"}


class Tokenizer:
    """A byte-level BPE tokenizer with `size` ids; `id(Special.USER)` is the id of a special token."""

    def __init__(self, source: str | os.PathLike[str] | bytes, added_tokens: AddedTokens | None = None) -> None:
        """Read tokenizer.json from a path or its bytes.

        added_tokens  those of tokenizer_config.json, which add to or override those of the file
        raises        CheckpointError if it cannot be read, is not byte-level, or lacks special tokens (all are listed);
                      ConfigError for an added token that has another id in the file
        """
        data = _read(source)
        try:
            self._whole = tokenizers.Tokenizer.from_buffer(data)
        # The library raises the class Exception itself.
        except Exception as error:
            raise CheckpointError(f"tokenizer.json cannot be read: {error}") from error
        self._whole.no_truncation()
        self._whole.no_padding()
        add_tokens(self._whole, added_tokens or {})
        self._added = dict(self._whole.get_added_tokens_decoder())
        self._special = _special_ids({token.content: id for id, token in self._added.items()})
        self._byte_of = {character: byte for byte, character in enumerate(_byte_alphabet())}
        self._longest = max(map(len, self._whole.get_vocab(with_added_tokens=False)), default=1)  # bytes
        self.size: int = self._whole.get_vocab_size()
        # The same model without added tokens: text that spells a special token stays text.
        self._plain = tokenizers.Tokenizer(self._whole.model)
        self._plain.normalizer = self._whole.normalizer
        self._plain.pre_tokenizer = self._whole.pre_tokenizer
        self._check_bytes()

    @classmethod
    def from_folder(cls, folder: Path) -> Tokenizer:
        """Read tokenizer.json and tokenizer_config.json, if there is one. Raises CheckpointError, ConfigError."""
        return cls(folder / "tokenizer.json", read_added_tokens(folder / "tokenizer_config.json"))

    @property
    def largest_id(self) -> int:
        """The largest id; ids below it may be unused."""
        return max(self._whole.get_vocab_size(with_added_tokens=False) - 1, *self._added)

    def id(self, special: Special) -> int:
        """The id of a special token."""
        return self._special[special]

    def spelling(self, special: Special) -> str:
        """How this tokenizer.json spells a special token."""
        content: str = self._added[self._special[special]].content
        return content

    def is_special(self, id: int) -> bool:
        """Whether an id is a special token rather than text."""
        return id in self._added

    def encode_text(self, text: str) -> list[int]:
        """The ids of ordinary text; the spelling of a special token in it is encoded as text.

        raises  InputError for more than 4 MiB of UTF-8, or for lone surrogates
        """
        _check_text(text)
        return list(self._plain.encode(text, add_special_tokens=False).ids)

    def encode_prompt(self, text: str) -> list[int]:
        """The ids of a raw prompt in the published format, in which special tokens are spelled out.

        raises  InputError as `encode_text` does
        """
        _check_text(text)
        return list(self._whole.encode(text, add_special_tokens=False).ids)

    def encode(self, pieces: Iterable[str | Special]) -> list[int]:
        """The ids of pieces of text and special tokens. Special tokens that are spelled in the text remain text.

        Otherwise the result equals `encode_prompt` of the joined pieces: special tokens remove the white space beside
        them where tokenizer.json says so.
        raises  InputError as `encode_text` does, for all text together
        """
        runs: list[str | Special] = []
        for is_text, run in groupby(pieces, key=lambda piece: isinstance(piece, str)):
            group = list(run)
            runs += ["".join(map(str, group))] if is_text else group
        _check_text("".join(piece for piece in runs if isinstance(piece, str)))
        ids: list[int] = []
        for before, piece, after in zip([None, *runs], runs, [*runs[1:], None], strict=False):
            if isinstance(piece, Special):
                ids.append(self._special[piece])
                continue
            if isinstance(before, Special) and self._added[self._special[before]].rstrip:
                piece = piece.lstrip(_WHITESPACE)
            if isinstance(after, Special) and self._added[self._special[after]].lstrip:
                piece = piece.rstrip(_WHITESPACE)
            ids.extend(self._plain.encode(piece, add_special_tokens=False).ids)
        return ids

    def least_tokens(self, texts: Iterable[str]) -> int:
        """A bound that `encode` cannot stay below for these texts: no token is longer than the longest one."""
        if self._plain.normalizer is not None:  # which may make a text shorter
            return 0
        return -(-sum(len(text.strip(_WHITESPACE)) for text in texts) // self._longest)

    def token_bytes(self, id: int) -> bytes:
        """The bytes of a token, which may be part of a character; b"" for ids that the vocabulary does not use."""
        if not 0 <= id < 2**32:
            raise InputError(f"token id {id} is impossible; expected 0 to {self.size - 1}")
        if id in self._added:
            content: str = self._added[id].content
            return content.encode()
        token = self._whole.id_to_token(id)
        return bytes(self._byte_of[character] for character in token or "")

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """The text of ids; incomplete characters become U+FFFD.

        skip_special  leave out special tokens, except those around a tool call, which belong to the answer
        raises        InputError for impossible ids
        """
        text = b"".join(self.answer_bytes(id) if skip_special else self.token_bytes(id) for id in ids)
        return text.decode("utf-8", errors="replace")

    def answer_bytes(self, id: int) -> bytes:
        """The bytes that a token adds to an answer: b"" for special tokens, except those around a tool call."""
        kept = (self._special[Special.TOOL_CALL], self._special[Special.TOOL_CALL_END])
        return b"" if id in self._added and id not in kept else self.token_bytes(id)

    def _check_bytes(self) -> None:
        vocabulary = self._whole.get_vocab(with_added_tokens=False)
        missing = self._byte_of.keys() - vocabulary.keys()
        if missing or not set().union(*vocabulary.keys()) <= self._byte_of.keys():
            raise CheckpointError(
                f"tokenizer.json is not a byte-level BPE: {len(missing)} of 256 byte tokens are missing, or tokens "
                "contain characters that stand for no byte"
            )
        for token in self._added.values():
            if not self._added.keys().isdisjoint(self._plain.encode(token.content, add_special_tokens=False).ids):
                raise CheckpointError(f"tokenizer.json lets ordinary text become the special token {token.content}")


def _read(source: str | os.PathLike[str] | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    path = Path(source)
    if (size := regular_file_bytes(path, "a tokenizer", CheckpointError)) > MAX_FILE:
        raise CheckpointError(f"{path} has {size} bytes; expected at most {MAX_FILE} for a tokenizer")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    refuse_lfs_pointer(str(path), data, CheckpointError)
    return data


def _special_ids(ids: dict[str, int]) -> dict[Special, int]:
    known = {
        special: ids[spelling]
        for special in Special
        for spelling in (special.value, _OTHER_SPELLING.get(special, special.value))
        if spelling in ids
    }
    missing = [special.value for special in Special if special not in known]
    if missing:
        raise CheckpointError(f"tokenizer.json lacks the special tokens {', '.join(missing)}")
    return known


def _byte_alphabet() -> list[str]:
    """The character for each byte in a byte-level vocabulary: the byte itself if printable, else from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def _check_text(text: str) -> None:
    if len(text) > MAX_TEXT:
        raise InputError(f"the text has {len(text)} characters; expected at most {MAX_TEXT} bytes of UTF-8")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InputError(
            f"the text has a lone surrogate, U+{ord(text[error.start]):04X}, at character {error.start}; "
            "decode the text as UTF-8 first"
        ) from None
    if size > MAX_TEXT:
        raise InputError(f"the text has {size} bytes of UTF-8; expected at most {MAX_TEXT}")
