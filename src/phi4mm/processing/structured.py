"""Answers that keep to a form (JSON schema, regular expression, choice, tool calls), as masks over the vocabulary.

The grammars are llguidance's: Lark with JSON schemas inside. It is loaded when the first grammar is compiled.

Shape legend: V vocabulary.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from phi4mm.errors import ConfigError, InputError
from phi4mm.processing.tokenizer import Tokenizer
from phi4mm.processing.tool_calls import FUNCTOOLS, MAX_DEPTH, arguments_schema
from phi4mm.protocol.messages import Tool
from phi4mm.protocol.request import ResponseFormat

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

MAX_SCHEMA = 2**16  # bytes of JSON
MAX_VALUES = 4096  # in a schema
MAX_KEYS = 512  # of one object in it; compiling takes the square of its properties
MAX_GRAMMAR = 2**17  # characters of the form and all tools together
MAX_CALLS = 16  # in one answer: a weak model would never close the list
# What one grammar may cost: about a second to compile, 50 MB of automaton, 0.2 s a token.
LIMITS: dict[str, Any] = {
    "initial_lexer_fuel": 500_000,
    "step_lexer_fuel": 50_000,
    "step_max_items": 10_000,
    "max_lexer_states": 250_000,
    "max_grammar_size": 200_000,
    "verbose_errors": False,
}
# White space as json.dumps writes it: where any were allowed, some models would write it for ever.
_LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_NESTS = (dict, list, tuple)
_EXCERPT = re.compile(r"(?s)\n\s*\d+ \|.*|<non-verbose/>|^at \d+\(\d+\): ")


@dataclass(frozen=True)
class Grammars:
    """Compiles grammars for one vocabulary.

    vocab_size  V of the model; ids that the tokenizer does not have are never allowed
    eos_ids     allowed just where the grammar may end
    """

    tokenizer: Tokenizer
    vocab_size: int
    eos_ids: Collection[int]

    def compile(
        self, form: ResponseFormat | None, tools: Sequence[Tool] = (), tool_choice: str = "auto"
    ) -> Matcher | None:
        """What the answer must keep to; None when anything goes. With "auto", calls may stand in for the form.

        raises  InputError for a form that is malformed, too large, contradictory or beyond what can be enforced,
                ConfigError when llguidance is not installed
        """
        names = [tool.name for tool in tools]
        if tool_choice != "auto" and (not tools or tool_choice not in ("required", *names)):
            expected = ", ".join(["auto", "required", *names] if tools else ["auto, as there are no tools"])
            raise InputError(f"tool_choice is {tool_choice!r}; expected {expected}")
        if tool_choice != "auto" and form is not None:
            raise InputError(f"tool_choice {tool_choice!r} leaves no room for a response format; give one of the two")
        if tool_choice == "auto" and form is None:
            return None
        vocabulary = self._vocabulary
        starts: list[str] = []
        rules: list[str] = []
        if form is not None:
            starts.append("answer")
            rules.append(f"answer: {_answer(form)}")
        if tools:
            starts.append("calls")
            rules += _calls([tool for tool in tools if tool_choice in ("auto", "required", tool.name)], tool_choice)
        grammar = "\n".join([f"start: {' | '.join(starts)}", *rules, ""])
        if len(grammar) > MAX_GRAMMAR:
            raise InputError(
                f"the answer's form comes to a grammar of {len(grammar)} characters and at most {MAX_GRAMMAR} are"
                " followed; give fewer or shorter choices or tools"
            )
        return _start(vocabulary, grammar, self.eos_ids)

    @cached_property
    def _vocabulary(self) -> LLTokenizer:
        """A second of work for 200,000 tokens, hence only once and only when needed."""
        try:
            from llguidance import LLTokenizer, TokenizerWrapper
        except ImportError as error:
            raise ConfigError("structured answers need llguidance; pip install 'phi4mm[structured]'") from error
        ends = sorted(self.eos_ids)
        return LLTokenizer(TokenizerWrapper(_Vocabulary(self.tokenizer, self.vocab_size, ends[0])), eos_token=ends)


class Matcher:
    """Where one answer stands in its grammar; satisfies the engine's Constraint."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher
        self._check()

    def mask(self) -> npt.NDArray[np.int32]:
        """(ceil(V / 32),) int32: bit i of word w is set when token 32 w + i may come next.

        raises  InputError when the grammar turns out too costly to follow
        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.int32).copy()
        # In its error state the library allows every end, which would pass off half an answer as a whole one.
        self._check()
        return bits

    def accept(self, token: int) -> None:
        """Go on by one token. Raises InputError when it is not allowed here, or as `mask` does."""
        self._matcher.consume_token(token)
        self._check()

    def fork(self) -> Matcher:
        """Another answer that stands where this one does, and goes its own way."""
        return Matcher(self._matcher.deep_copy())

    def _check(self) -> None:
        if self._matcher.is_error():
            reason = " ".join(_EXCERPT.sub("", self._matcher.get_error()).split())
            raise InputError({"NoExtensionBias": "no text fits it"}.get(reason, reason[:300]))


class _Vocabulary:
    """The tokenizer as llguidance reads one: the bytes of every id, empty for those that must never come."""

    def __init__(self, tokenizer: Tokenizer, size: int, eos_id: int) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id, self.bos_token_id = eos_id, None
        self.tokens = [tokenizer.token_bytes(id) for id in range(size)]
        self.special_token_ids = [id for id in range(size) if tokenizer.is_special(id)]

    def __call__(self, text: str | bytes) -> list[int]:
        return self._tokenizer.encode_text(text if isinstance(text, str) else text.decode())


def _start(vocabulary: LLTokenizer, grammar: str, eos_ids: Collection[int]) -> Matcher:
    """A matcher at the beginning of a grammar that was tried for one token.

    Most grammars that cost too much do so at once: better here than in the middle of everyone's step.
    """
    from llguidance import LLMatcher, LLParserLimits

    limits = LLParserLimits(**LIMITS)
    try:
        matcher = Matcher(LLMatcher(vocabulary, grammar, log_level=0, limits=limits))
        trial = matcher.fork()
        allowed = np.flatnonzero(np.unpackbits(trial.mask().view(np.uint8), bitorder="little"))
        for id in [int(id) for id in allowed if id not in eos_ids][:1]:
            trial.accept(id)
            trial.mask()
    except InputError as error:
        raise InputError(f"the answer's form cannot be enforced: {error}; correct or simplify it") from None
    return matcher


def _answer(form: ResponseFormat) -> str:
    """The right side of the rule for an answer of this form."""
    if form.schema is not None:
        return f"%json {_schema_text(form.schema, 'the schema')}"
    if form.choice:
        return f"CHOICE\nCHOICE: {' | '.join(json.dumps(text, ensure_ascii=False) for text in form.choice)}"
    from llguidance import regex_to_lark

    assert form.regex is not None
    return f"/{regex_to_lark(form.regex, use_ascii='')}/"


def _calls(tools: Sequence[Tool], tool_choice: str) -> list[str]:
    """Rules for calls in the published form: one to the tool that was named, else up to MAX_CALLS to any."""
    more = f' (", " call){{0,{MAX_CALLS - 1}}}' if tool_choice in ("auto", "required") else ""
    rules = [
        f'calls: "{FUNCTOOLS}[" call{more} "]"',
        f"call: {' | '.join(f'call_{number}' for number in range(len(tools)))}",
    ]
    for number, tool in enumerate(tools):
        head = json.dumps(f'{{"name": "{tool.name}", "arguments": ')
        schema = _schema_text(arguments_schema(tool), f"the parameters of tool {tool.name}")
        rules.append(f'call_{number}: {head} %json {schema} "}}"')
    return rules


def _schema_text(schema: dict[str, Any], what: str) -> str:
    """A schema of bounded size as JSON, in which nothing but our own layout steers the library."""
    level: list[Any] = [schema]
    depth = values = 0
    while level:
        depth, values = depth + 1, values + len(level)
        keys = max((len(value) for value in level if isinstance(value, dict)), default=0)
        if depth > MAX_DEPTH or values > MAX_VALUES or keys > MAX_KEYS:
            raise InputError(
                f"{what} nests {depth} deep, has {values} values up to there and {keys} in one object; "
                f"at most {MAX_DEPTH}, {MAX_VALUES} and {MAX_KEYS} are followed"
            )
        groups = [value.values() if isinstance(value, dict) else value for value in level if isinstance(value, _NESTS)]
        level = [child for group in groups for child in group]
    try:
        text = json.dumps({**schema, "x-guidance": _LAYOUT}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} is not JSON: {error}") from None
    if len(text) > MAX_SCHEMA:
        raise InputError(f"{what} has {len(text)} bytes of JSON; at most {MAX_SCHEMA} are followed")
    return text
