"""The model's tokenizer by the names that scripts use.

S tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from phi4mm.config.validate import shown
from phi4mm.errors import ConfigError, InputError
from phi4mm.processing.chat_template import ending, turn
from phi4mm.processing.tokenizer import Special, Tokenizer

Ids: TypeAlias = "Tensor | npt.NDArray[Any] | Sequence[int]"
# As published, a role's name is its mark: what a tool returned opens with the mark that elsewhere declares tools.
ROLE_TOKENS = {
    "system": Special.SYSTEM,
    "user": Special.USER,
    "assistant": Special.ASSISTANT,
    "tool": Special.TOOL,
}


class CardTokenizer:
    """The model's tokenizer by the names that scripts use."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id = self.pad_token_id = tokenizer.id(Special.ENDOFTEXT)

    def decode(
        self, ids: Ids, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> str:
        """Text of (S,) ids. Cleaning up spaces would change the answer's text and is refused. Raises InputError."""
        if clean_up_tokenization_spaces:
            raise ConfigError(
                "clean_up_tokenization_spaces is True; text comes only as its tokens spell it, so pass False"
            )
        found = np.asarray(ids.cpu() if isinstance(ids, Tensor) else ids)
        if found.ndim > 1 or (found.size and found.dtype.kind not in "iu"):
            raise InputError(f"ids have shape {found.shape} and are {found.dtype}; expected one row of whole numbers")
        return self._tokenizer.decode(found.reshape(-1).tolist(), skip_special=skip_special_tokens)

    def batch_decode(
        self, ids: Iterable[Ids], skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> list[str]:
        """Text of each row, as `decode`."""
        return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in ids]

    def apply_chat_template(
        self, conversation: Sequence[Mapping[str, str]], *, tokenize: bool = True, add_generation_prompt: bool = False
    ) -> str | list[int]:
        """A conversation in the published format, as text (`tokenize=False`) or ids.

        conversation  {"role": ..., "content": text} each; a system message may carry its tools' JSON under "tools".
                      As published, text that spells special tokens or media tags becomes them; untrusted text
                      belongs in `phi4mm.load(...).chat`, where it stays text.
        raises        InputError
        """
        text = "".join(_turn(message, number) for number, message in enumerate(conversation, 1))
        text += ending(add_generation_prompt).value
        return self._tokenizer.encode_prompt(text) if tokenize else text


def _turn(message: Mapping[str, str], number: int) -> str:
    role, content, tools = message.get("role"), message.get("content"), message.get("tools")
    if role not in tuple(ROLE_TOKENS) or not isinstance(content, str) or not isinstance(tools, (str, type(None))):
        raise InputError(
            f"message {number} has role {shown(role)} and content of type {type(content).__name__}; expected one of "
            f"{', '.join(ROLE_TOKENS)} and text, media as marks such as <|image_1|>"
        )
    if tools is not None and role != "system":
        raise InputError(f"message {number} is a {role} message with tools; only the system message declares them")
    pieces = turn(ROLE_TOKENS[role], [content], tools)
    return "".join(piece.value if isinstance(piece, Special) else str(piece) for piece in pieces)
