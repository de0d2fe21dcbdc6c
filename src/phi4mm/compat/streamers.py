"""Streamers: what `generate(streamer=)` hands tokens to while they arrive.

S tokens.
"""

from __future__ import annotations

import queue
import sys
from collections.abc import Iterator
from typing import Protocol

from torch import Tensor

from phi4mm.compat.keywords import DECODE
from phi4mm.compat.processor import AutoProcessor
from phi4mm.compat.tokenizer import CardTokenizer
from phi4mm.compat.values import check_values
from phi4mm.config.validate import shown
from phi4mm.errors import ConfigError, InputError


class Streamer(Protocol):
    """Any object with these methods is a streamer, one of transformers too."""

    def put(self, value: Tensor) -> None:
        """The prompts (B, S) first, then (B,) tokens, one of each answer."""

    def end(self) -> None:
        """The answer has ended."""


class TextStreamer:
    """Prints an answer while it is generated: whole characters only, for one prompt."""

    def __init__(
        self,
        tokenizer: CardTokenizer | AutoProcessor,
        skip_prompt: bool = False,
        *,
        skip_special_tokens: bool = False,
        **others: object,
    ) -> None:
        """`skip_prompt` leaves out the text of the prompt. Raises ConfigError for other keywords."""
        DECODE.check(others, ("skip_prompt", "skip_special_tokens", "timeout"))
        check_values(skip_prompt=skip_prompt, skip_special_tokens=skip_special_tokens)
        self._tokenizer = tokenizer.tokenizer if isinstance(tokenizer, AutoProcessor) else tokenizer
        if not isinstance(self._tokenizer, CardTokenizer):
            raise ConfigError(f"tokenizer is {shown(tokenizer)}; expected a tokenizer or processor of phi4mm.compat")
        self._skip_prompt, self._skip_special = skip_prompt, skip_special_tokens
        self._begin()

    def _begin(self) -> None:
        self._text = self._tokenizer.text_stream(self._skip_special)
        self._is_prompt = True

    def put(self, value: Tensor) -> None:
        """Take the prompt (1, S), then tokens (1,). Raises InputError for several prompts."""
        if value.dim() > 1 and len(value) > 1:
            raise InputError(f"a text streamer got {len(value)} prompts; expected one, so call generate for each")
        skipped, self._is_prompt = self._is_prompt and self._skip_prompt, False
        if not skipped:
            self.on_finalized_text("".join(self._text.push(id) for id in value.reshape(-1).tolist()))

    def end(self) -> None:
        """Print what was held back, and the end of the line. The streamer may then be used again."""
        rest = self._text.finish()
        self._begin()
        self.on_finalized_text(rest, stream_end=True)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Print a piece of text; subclasses may do something else with it."""
        sys.stdout.write(text + "\n" * stream_end)
        sys.stdout.flush()


class TextIteratorStreamer(TextStreamer):
    """Iterate over an answer while `generate` runs in another thread."""

    def __init__(
        self,
        tokenizer: CardTokenizer | AutoProcessor,
        skip_prompt: bool = False,
        timeout: float | None = None,
        *,
        skip_special_tokens: bool = False,
        **others: object,
    ) -> None:
        """`timeout` is in seconds for each piece; queue.Empty is raised after it."""
        check_values(timeout=timeout)
        super().__init__(tokenizer, skip_prompt, skip_special_tokens=skip_special_tokens, **others)
        self._timeout = timeout
        self._pieces: queue.SimpleQueue[str | BaseException | None] = queue.SimpleQueue()

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Hand a piece of text to the iterating thread."""
        if text:
            self._pieces.put(text)
        if stream_end:
            self._pieces.put(None)

    def fail(self, error: BaseException) -> None:
        """End the iteration with the error of `generate`, which would leave it waiting."""
        self._pieces.put(error)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """The next piece of text, never empty. Raises the error of `generate` if it failed."""
        piece = self._pieces.get(timeout=self._timeout)
        if isinstance(piece, BaseException):
            raise piece
        if piece is None:
            raise StopIteration
        return piece
