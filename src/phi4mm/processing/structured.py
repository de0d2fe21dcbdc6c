"""Answers that keep to a form (JSON schema, regular expression, choice, tool calls), as masks over the vocabulary.

The library is llguidance. It is loaded when the first grammar is started.

Shape legend: V vocabulary.
"""

from __future__ import annotations

import re
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

# What one grammar may cost: about a second to compile, 50 MB of automaton, 0.2 s a token.
LIMITS: dict[str, Any] = {
    "initial_lexer_fuel": 500_000,
    "step_lexer_fuel": 50_000,
    "step_max_items": 10_000,
    "max_lexer_states": 250_000,
    "max_grammar_size": 200_000,
    "verbose_errors": False,
}
_EXCERPT = re.compile(r"(?s)\n\s*\d+ \|.*|<non-verbose/>|^at \d+\(\d+\): ")


@dataclass(frozen=True)
class Grammars:
    """Starts grammars over one vocabulary.

    vocab_size  V of the model; ids that the tokenizer does not have are never allowed
    eos_ids     allowed just where the grammar may end
    """

    tokenizer: Tokenizer
    vocab_size: int
    eos_ids: Collection[int]

    def start(self, source: str) -> Matcher:
        """The beginning of an answer to what `grammar_source` made.

        raises  InputError for a grammar that is malformed, contradictory or beyond what can be enforced,
                ConfigError when llguidance is not installed
        """
        return Matcher(self._vocabulary, source)

    def compile(
        self, form: ResponseFormat | None, tools: Sequence[Tool] = (), tool_choice: str = "auto"
    ) -> Matcher | None:
        """`start` of `grammar_source`; None when anything goes. Raises what they raise."""
        source = grammar_source(form, tools, tool_choice)
        return None if source is None else self.start(source)

    @cached_property
    def _vocabulary(self) -> LLTokenizer:
        """A second of work for 200,000 tokens, hence only once and only when needed."""
        try:
            from llguidance import LLTokenizer, TokenizerWrapper
        except ImportError as error:
            raise missing_library() from error
        ends = sorted(self.eos_ids)
        return LLTokenizer(TokenizerWrapper(_Vocabulary(self.tokenizer, self.vocab_size, ends[0])), eos_token=ends)


class Matcher:
    """Where one answer stands in its grammar; satisfies the engine's Constraint.

    Each has a parser of its own. The library's copies share one lexer, with its fuel and its errors: one answer that
    goes an expensive way would end all the others, and what each may cost would depend on them.
    """

    def __init__(self, vocabulary: LLTokenizer, source: str) -> None:
        self._vocabulary = vocabulary
        self._source = source
        self._accepted: list[int] = []
        self._parser = _start(vocabulary, source)

    def mask(self) -> npt.NDArray[np.int32]:
        """(ceil(V / 32),) int32: bit i of word w is set when token 32 w + i may come next.

        Each mask brings the fuel for itself and for the token after it.
        raises  InputError when the grammar turns out too costly to follow
        """
        return _mask(self._parser)

    def accept(self, token: int) -> None:
        """Go on by one token. Raises InputError when it is not allowed here, or as `mask` does."""
        _accept(self._parser, token)
        self._accepted.append(token)

    def fork(self) -> Matcher:
        """Another answer that stands where this one does, and goes its own way: started anew, then led here.

        raises  InputError as `mask` and `accept` do
        """
        other = Matcher(self._vocabulary, self._source)
        for token in self._accepted:
            other.mask()
            other.accept(token)
        return other
        for token in self._accepted:
            other.mask()
            other.accept(token)
        return other


class _Vocabulary:
    """The tokenizer as llguidance reads one: the bytes of every id, empty for those that must never come."""

    def __init__(self, tokenizer: Tokenizer, size: int, eos_id: int) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id, self.bos_token_id = eos_id, None
        self.tokens = [tokenizer.token_bytes(id) for id in range(size)]
        self.special_token_ids = [id for id in range(size) if tokenizer.is_special(id)]

    def __call__(self, text: str | bytes) -> list[int]:
        return self._tokenizer.encode_text(text if isinstance(text, str) else text.decode())


def _start(vocabulary: LLTokenizer, source: str) -> LLMatcher:
    """A parser at the beginning of a grammar that was tried for one token.

    Most grammars that cost too much do so at once: better here than in the middle of everyone's step.
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
        raise InputError(f"the answer's form cannot be enforced: {error}; correct or simplify it") from None
    return parser


def _mask(parser: LLMatcher) -> npt.NDArray[np.int32]:
    bits = np.frombuffer(parser.compute_bitmask(), np.int32).copy()
    # In its error state the library allows every end, which would pass off half an answer as a whole one.
    _check(parser)
    return bits


def _accept(parser: LLMatcher, token: int) -> None:
    parser.consume_token(token)
    _check(parser)


def _check(parser: LLMatcher) -> None:
    if parser.is_error():
        reason = " ".join(_EXCERPT.sub("", parser.get_error()).split())
        raise InputError({"NoExtensionBias": "no text fits it"}.get(reason, reason[:300]))
