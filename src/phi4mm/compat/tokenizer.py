"""The tokenizer with the method names of transformers.

Shape legend: S tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from phi4mm.config.validate import shown
from phi4mm.errors import ConfigError, InputError
from phi4mm.processing.chat_template import ROLE_TOKEN, ending, turn
from phi4mm.processing.tokenizer import Special, Tokenizer

Ids: TypeAlias = "Tensor | npt.NDArray[Any] | Sequence[int]"


class CardTokenizer:
    """The tokenizer with the method names of transformers."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id = self.pad_token_id = tokenizer.id(Special.ENDOFTEXT)

    def decode(
        self, ids: Ids, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> str:
        """The text of (S,) ids. Raises InputError; ConfigError for clean_up_tokenization_spaces=True."""
        if clean_up_tokenization_spaces:
            raise ConfigError(
                "clean_up_tokenization_spaces is True; expected False, as the text of an answer is never changed"
            )
        array = np.asarray(ids.cpu() if isinstance(ids, Tensor) else ids)
        if array.ndim > 1 or (array.size and array.dtype.kind not in "iu"):
            raise InputError(f"ids have shape {array.shape} and dtype {array.dtype}; expected one sequence of integers")
        return self._tokenizer.decode(array.reshape(-1).tolist(), skip_special=skip_special_tokens)

    def batch_decode(
        self, ids: Iterable[Ids], skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> list[str]:
        """The text of each sequence of ids, as `decode`."""
        return [self.decode(sequence, skip_special_tokens, clean_up_tokenization_spaces) for sequence in ids]

    def apply_chat_template(
        self, conversation: Sequence[Mapping[str, str]], *, tokenize: bool = True, add_generation_prompt: bool = False
    ) -> str | list[int]:
        """A conversation in the published format, as text (`tokenize=False`) or ids.

        conversation  messages {"role": ..., "content": text}; a system message may have JSON of tools under "tools".
                      As published, special tokens and media tags that are spelled in the text take effect. For
                      untrusted text use `phi4mm.load(...).chat`, where they remain text.
        raises        InputError
        """
        text = "".join(_turn(message, number) for number, message in enumerate(conversation, 1))
        text += ending(add_generation_prompt).value
        return self._tokenizer.encode_prompt(text) if tokenize else text


def _turn(message: Mapping[str, str], number: int) -> str:
    role, content, tools = message.get("role"), message.get("content"), message.get("tools")
    if role not in tuple(ROLE_TOKEN) or not isinstance(content, str) or not isinstance(tools, (str, type(None))):
        raise InputError(
            f"message {number} has role {shown(role)} and content of type {type(content).__name__}; expected one of "
            f"{', '.join(ROLE_TOKEN)} and text, with media tags such as <|image_1|> for media"
        )
    if tools is not None and role != "system":
        raise InputError(f"message {number} is a {role} message with tools; only the system message may have tools")
    pieces = turn(ROLE_TOKEN[role], [content], tools)
    return "".join(piece.value if isinstance(piece, Special) else str(piece) for piece in pieces)
