"""The tokenizer with the method names of transformers.

B sequences (texts), S tokens of the longest.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from phi4mm.checkpoint.hub import resolve
from phi4mm.checkpoint.save import save_companions
from phi4mm.compat.conversation import read_conversation
from phi4mm.compat.inputs import Inputs
from phi4mm.compat.keywords import DECODE, SAVE, TEMPLATE, TOKENIZE, TOKENIZER
from phi4mm.compat.values import check_value, check_values, dense
from phi4mm.config.json_file import read_json
from phi4mm.config.validate import shown
from phi4mm.errors import InputError
from phi4mm.processing.detokenizer import TextStream
from phi4mm.processing.tokenizer import Special, Tokenizer

Ids: TypeAlias = "Tensor | npt.NDArray[Any] | Sequence[int] | int"


class CardTokenizer:
    """The tokenizer with the method names of transformers.

    padding_side  "right", or what tokenizer_config.json says; set it to "left" before texts are padded for `generate`
    """

    def __init__(self, tokenizer: Tokenizer, folder: Path) -> None:
        """`folder` is that of the checkpoint."""
        self._tokenizer, self._folder = tokenizer, folder
        self.eos_token_id = self.pad_token_id = self.bos_token_id = tokenizer.id(Special.ENDOFTEXT)
        config = folder / "tokenizer_config.json"
        self.padding_side: str = read_json(config).get("padding_side", "right") if config.exists() else "right"

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        local_files_only: bool = False,
        padding_side: Literal["left", "right"] | None = None,
        **others: object,
    ) -> CardTokenizer:
        """Load the tokenizer of "nano", a folder or a hub id. Raises ConfigError, CheckpointError."""
        TOKENIZER.check(others, ("revision", "local_files_only", "padding_side"))
        check_values(revision=revision, local_files_only=local_files_only, padding_side=padding_side)
        folder = resolve(pretrained_model_name_or_path, revision=revision, local_files_only=local_files_only)
        tokenizer = cls(Tokenizer.from_folder(folder), folder)
        tokenizer.padding_side = padding_side or tokenizer.padding_side
        return tokenizer

    @property
    def eos_token(self) -> str:
        """The token that ends a conversation; also `bos_token` and the first `pad_token`."""
        return self._tokenizer.spelling(Special.ENDOFTEXT)

    bos_token = eos_token

    @property
    def pad_token(self) -> str:
        """The token that fills up shorter texts; setting it sets pad_token_id. Raises InputError for other text."""
        return self.decode([self.pad_token_id])

    @pad_token.setter
    def pad_token(self, token: str) -> None:
        self.pad_token_id = self._id(token)

    @property
    def pad_token_id(self) -> int:
        """The id that fills up shorter texts; may be set. Raises ConfigError."""
        return self._pad_token_id

    @pad_token_id.setter
    def pad_token_id(self, id: int) -> None:
        check_value("pad_token_id", id)
        self._pad_token_id = int(id)

    def __len__(self) -> int:
        """Number of ids, those that are not used among them."""
        return self._tokenizer.largest_id + 1

    def __call__(
        self,
        text: str | Sequence[str],
        *,
        padding: bool | str = False,
        return_tensors: str | None = None,
        padding_side: Literal["left", "right"] | None = None,
        **others: object,
    ) -> Inputs:
        """Tokens of one text or several, special tokens among them, and their mask; no media.

        padding         True or "longest" fills up shorter texts on `padding_side`
        return_tensors  "pt": tensors (B, S) int64; None: lists, which for a single text are not nested
        raises          InputError for texts of different length without padding; ConfigError
        """
        TOKENIZE.check(others, ("text", "padding", "return_tensors", "padding_side"))
        side = self.padding_side if padding_side is None else padding_side
        check_values(padding=padding, return_tensors=return_tensors)
        check_value("padding_side", side)
        texts = [text] if isinstance(text, str) else text
        if not isinstance(texts, (list, tuple)) or not texts or not all(isinstance(each, str) for each in texts):
            raise InputError(f"text is {shown(text)}; expected text, or a list of at least one")
        ids = [self._tokenizer.encode_prompt(each) for each in texts]
        lengths = [len(each) for each in ids]
        if padding in (True, "longest"):
            fill = [[0] * (max(lengths) - length) for length in lengths]
        elif return_tensors is not None and len(set(lengths)) > 1:
            raise InputError(
                f"the texts have {min(lengths)} to {max(lengths)} tokens; pass padding=True for one tensor"
            )
        else:
            fill = [[] for _ in ids]
        left = side == "left"
        masks = [gap * left + [1] * length + gap * (not left) for length, gap in zip(lengths, fill, strict=True)]
        pads = [[self.pad_token_id] * len(gap) for gap in fill]
        rows = [gap * left + each + gap * (not left) for each, gap in zip(ids, pads, strict=True)]
        if return_tensors is not None:
            return Inputs({"input_ids": torch.tensor(rows), "attention_mask": torch.tensor(masks)})
        single = isinstance(text, str)
        return Inputs({"input_ids": rows[0] if single else rows, "attention_mask": masks[0] if single else masks})

    def encode(self, text: str, *, return_tensors: str | None = None, **others: Any) -> Any:
        """The ids of one text: a list, or (1, S) int64 with return_tensors="pt". Raises InputError, ConfigError."""
        return self(text, return_tensors=return_tensors, **others)["input_ids"]

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> int | list[int]:
        """The id of one token, such as "<|end|>", or of each. Raises InputError for text that is no single token."""
        return [self._id(token) for token in tokens] if isinstance(tokens, (list, tuple)) else self._id(tokens)

    def decode(self, token_ids: Ids, skip_special_tokens: bool = False, **others: object) -> str:
        """The text of (S,) ids. Raises InputError; ConfigError for other keywords."""
        DECODE.check(others, ("token_ids", "skip_special_tokens"))
        check_values(skip_special_tokens=skip_special_tokens)
        ids = dense("token_ids", token_ids) if isinstance(token_ids, Tensor) else token_ids
        try:
            array = np.asarray(ids)
        except (TypeError, ValueError, OverflowError):
            raise InputError(f"token_ids are {shown(ids)}; expected one sequence of integers") from None
        if array.ndim > 1 or (array.size and array.dtype.kind not in "iu"):
            raise InputError(f"ids have shape {array.shape} and dtype {array.dtype}; expected one sequence of integers")
        return self._tokenizer.decode(array.reshape(-1).tolist(), skip_special=skip_special_tokens)

    def batch_decode(self, sequences: Iterable[Ids], skip_special_tokens: bool = False, **others: object) -> list[str]:
        """The text of each sequence of ids, as `decode`."""
        rows = dense("sequences", sequences) if isinstance(sequences, Tensor) else sequences
        if not isinstance(rows, Iterable) or getattr(rows, "ndim", 1) == 0:
            raise InputError(f"sequences is {shown(rows)}; expected a list of sequences of ids")
        return [self.decode(sequence, skip_special_tokens, **others) for sequence in rows]

    def text_stream(self, skip_special_tokens: bool) -> TextStream:
        """Decodes ids as they arrive."""
        return TextStream(self._tokenizer.answer_bytes if skip_special_tokens else self._tokenizer.token_bytes)

    def apply_chat_template(
        self,
        conversation: Iterable[Mapping[str, Any]],
        *,
        tokenize: bool = True,
        add_generation_prompt: bool = False,
        return_dict: bool = False,
        return_tensors: str | None = None,
        **others: object,
    ) -> Any:
        """A conversation in the published format: text (tokenize=False), ids, or both tensors (return_dict=True).

        conversation  messages {"role": ..., "content": text}; a system message may have JSON of tools under "tools".
                      As published, special tokens and media tags that are spelled in the text take effect. For
                      untrusted text use `phi4mm.load(...).chat`, where they remain text.
        raises        InputError, also for messages that hold media; ConfigError
        """
        TEMPLATE.check(others, TEMPLATE_WORKS)
        check_values(
            tokenize=tokenize,
            add_generation_prompt=add_generation_prompt,
            return_dict=return_dict,
            return_tensors=return_tensors,
        )
        found = read_conversation(conversation, add_generation_prompt)
        if tokenize and (found.images or found.audios):
            raise InputError("the messages hold media; use processor.apply_chat_template, which processes them")
        if not tokenize:
            return found.text
        inputs = self(found.text, return_tensors=return_tensors)
        return inputs if return_dict else inputs["input_ids"]

    def save_pretrained(self, save_directory: str | os.PathLike[str], **others: object) -> None:
        """Copy the tokenizer's and processor's files into a folder. Raises ConfigError, CheckpointError."""
        SAVE.check(others, ("save_directory",))
        check_value("save_directory", save_directory)
        save_companions(self._folder, Path(save_directory))

    def _id(self, token: object) -> int:
        if not isinstance(token, str):
            raise InputError(f"a token is {shown(token)}; expected text, such as <|end|>")
        ids = self._tokenizer.encode_prompt(token)
        if len(ids) != 1:
            raise InputError(f"{shown(token)} is {len(ids)} tokens; expected one token, such as <|end|>")
        return ids[0]


TEMPLATE_WORKS = ("conversation", "tokenize", "add_generation_prompt", "return_dict", "return_tensors")
