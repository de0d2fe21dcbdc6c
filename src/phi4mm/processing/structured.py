"""Structured output (JSON schema, regular expression, choice, tool calls) as masks over the vocabulary.

The masks come from llguidance, which is imported when the first grammar is started.

Shape legend: V vocabulary.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from phi4mm.errors import InputError
from phi4mm.processing.grammar import grammar_source, missing_library
from phi4mm.processing.tokenizer import Tokenizer
from phi4mm.protocol.messages import Tool
from phi4mm.protocol.request import ResponseFormat

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

# The most that one grammar may cost: about a second to compile, 50 MB of memory, 0.2 s per token.
LIMITS: dict[str, Any] = {
    "initial_lexer_fuel": 500_000,
    "step_lexer_fuel": 50_000,
    "step_max_items": 10_000,
    "max_lexer_states": 250_000,
    "max_grammar_size": 200_000,
    "verbose_errors": False,
}
MASK_SECONDS = 0.02  # of processor time, which any mask may take
MAX_OVER = 1.0  # seconds that the masks of one answer may take beyond that, as long as compiling may
MAX_FORCED = 256  # tokens whose masks are known at once
_EXCERPT = re.compile(r"(?s)\n\s*\d+ \|.*|<non-verbose/>|^at \d+\(\d+\): ")


@dataclass(frozen=True)
class Grammars:
    """Starts grammars for one vocabulary.

    vocab_size  V of the model; ids that the tokenizer does not have are never allowed
    eos_ids     allowed exactly where the grammar may end
    """

    tokenizer: Tokenizer
    vocab_size: int
    eos_ids: Collection[int]

    def start(self, source: str) -> Matcher:
        """A matcher at the start of an answer, for a grammar made by `grammar_source`.

        raises  InputError for a grammar that is malformed, contradictory or too costly,
                ConfigError if llguidance is not installed
        """
        return Matcher(self._vocabulary, source)

    def compile(
        self,
        response_format: ResponseFormat | None,
        tools: Sequence[Tool] = (),
        tool_choice: str = "auto",
        parallel_tool_calls: bool = True,
    ) -> Matcher | None:
        """`grammar_source` and `start`; None if the answer is free. Raises as they do."""
        source = grammar_source(response_format, tools, tool_choice, parallel_tool_calls)
        return None if source is None else self.start(source)

    @cached_property
    def _vocabulary(self) -> LLTokenizer:
        """Takes a second for 200,000 tokens, so it is made once, when it is first needed."""
        try:
            from llguidance import LLTokenizer, TokenizerWrapper
        except ImportError as error:
            raise missing_library() from error
        ends = sorted(self.eos_ids)
        return LLTokenizer(TokenizerWrapper(_Vocabulary(self.tokenizer, self.vocab_size, ends[0])), eos_token=ends)


class Matcher:
    """The state of one answer in its grammar; an implementation of the engine's Constraint.

    Each matcher has its own parser. Copies made by the library share one lexer with its fuel (a limit on work) and its
    errors: one costly answer would end the others, and the limit of each would depend on the others.
    """

    def __init__(self, vocabulary: LLTokenizer, source: str) -> None:
        self._vocabulary = vocabulary
        self._source = source
        self._accepted: list[int] = []
        self._forced: deque[int] = deque()  # the tokens that come next, as far as they are known
        self._words = 0  # of a mask
        self._over = 0.0  # seconds that masks took beyond MASK_SECONDS each
        self._parser = _start(vocabulary, source)

    def mask(self) -> npt.NDArray[np.int32]:
        """(ceil(V / 32),) int32: bit i of word w is set if token 32 w + i is allowed next.

        Each computed mask renews the fuel, which then serves it and the next token. Computing goes through all of the
        text that the grammar leaves no choice of, so up to MAX_FORCED tokens of it are computed at once.
        raises  InputError if the grammar proves too costly
        """
        if self._forced:
            bits = np.zeros(self._words, np.uint32)
            bits[self._forced[0] // 32] = 1 << self._forced[0] % 32
            return bits.view(np.int32)
        begin = time.thread_time()
        mask = _mask(self._parser)
        if _allows_one(mask):
            self._forced.extend(self._parser.compute_ff_tokens()[:MAX_FORCED])
        self._words = len(mask)
        self._over += max(0.0, time.thread_time() - begin - MASK_SECONDS)
        if self._over > MAX_OVER:
            raise InputError("the grammar takes too long to follow; simplify it")
        return mask

    def accept(self, token: int) -> None:
        """Advance by one token. Raises InputError if it is not allowed here, and as `mask` does."""
        _accept(self._parser, token)
        self._accepted.append(token)
        if self._forced:
            self._forced.popleft()

    def fork(self) -> Matcher:
        """A new matcher in the same state, made by starting the grammar again and accepting the same tokens.

        raises  InputError as `mask` and `accept` do
        """
        other = Matcher(self._vocabulary, self._source)
        for token in self._accepted:
            other.mask()
            other.accept(token)
        return other


class _Vocabulary:
    """The tokenizer in the form that llguidance expects: the bytes of every id, b"" for ids without a token."""

    def __init__(self, tokenizer: Tokenizer, size: int, eos_id: int) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id, self.bos_token_id = eos_id, None
        self.tokens = [tokenizer.token_bytes(id) for id in range(size)]
        self.special_token_ids = [id for id in range(size) if tokenizer.is_special(id)]

    def __call__(self, text: str | bytes) -> list[int]:
        return self._tokenizer.encode_text(text if isinstance(text, str) else text.decode())


def _start(vocabulary: LLTokenizer, source: str) -> LLMatcher:
    """A parser at the start of a grammar, after a trial of one token on a copy.

    Most grammars that are too costly fail in this trial, before they can slow down a step of other sequences.
    """
    from llguidance import LLMatcher, LLParserLimits

    try:
        parser = LLMatcher(vocabulary, source, log_level=0, limits=LLParserLimits(**LIMITS))
        _check(parser)
        trial = parser.deep_copy()
        allowed = np.flatnonzero(np.unpackbits(_mask(trial).view(np.uint8), bitorder="little"))
        for id in [int(id) for id in allowed if id not in vocabulary.eos_tokens][:1]:
            _accept(trial, id)
            _mask(trial)
    except InputError as error:
        raise InputError(f"the structured output cannot be enforced: {error}; correct or simplify it") from None
    return parser


def _allows_one(mask: npt.NDArray[np.int32]) -> bool:
    words = mask[mask != 0]
    return len(words) == 1 and int(words.view(np.uint32)[0]).bit_count() == 1


def _mask(parser: LLMatcher) -> npt.NDArray[np.int32]:
    bits = np.frombuffer(parser.compute_bitmask(), np.int32).copy()
    # After an error the library allows the end tokens, and an incomplete answer would look complete.
    _check(parser)
    return bits


def _accept(parser: LLMatcher, token: int) -> None:
    parser.consume_token(token)
    _check(parser)


def _check(parser: LLMatcher) -> None:
    if parser.is_error():
        reason = " ".join(_EXCERPT.sub("", parser.get_error()).split())
        raise InputError({"NoExtensionBias": "no text fits it"}.get(reason, reason[:300]))
