"""Structured output token by token: which tokens are allowed, where the answer may end, what is refused."""

from __future__ import annotations

import itertools
import json
import pickle
import random
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from phi4mm.errors import ConfigError, InputError
from phi4mm.processing import structured
from phi4mm.processing.grammar import MAX_CALLS, grammar_source
from phi4mm.processing.structured import Grammars, Matcher
from phi4mm.processing.tokenizer import Special, Tokenizer
from phi4mm.processing.tool_calls import arguments_schema, parse_tool_calls
from phi4mm.protocol.messages import Tool, ToolCall
from phi4mm.protocol.request import ResponseFormat

SPARE = 45  # ids of the model beyond the tokenizer's; not a multiple of 32
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}, "tags": {"enum": ["a", 1]}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
SECONDS = 5.0  # far above what a hostile format takes on a busy machine, far below unbounded work


@pytest.fixture(scope="module")
def grammars(tokenizer: Tokenizer) -> Grammars:
    ends = (tokenizer.id(Special.END), tokenizer.id(Special.ENDOFTEXT))
    return Grammars(tokenizer, tokenizer.size + SPARE, ends)


def allowed(matcher: Matcher) -> set[int]:
    bits = matcher.mask()
    return set(map(int, np.flatnonzero(np.unpackbits(bits.view(np.uint8), bitorder="little"))))


def compiled(
    grammars: Grammars,
    response_format: ResponseFormat | None,
    tools: tuple[Tool, ...] = (),
    choice: str = "auto",
    parallel: bool = True,
) -> Matcher:
    source = grammar_source(response_format, tools, choice, parallel)
    assert source is not None
    return grammars.start(source)


def accepts(grammars: Grammars, matcher: Matcher, text: str) -> bool:
    """Whether the grammar allows the text as a complete answer, in the tokens of the tokenizer."""
    for id in grammars.tokenizer.encode_text(text):
        if id not in allowed(matcher):
            return False
        matcher.accept(id)
    return allowed(matcher) >= set(grammars.eos_ids)


def random_answer(grammars: Grammars, matcher: Matcher, seed: int, max_tokens: int = 300) -> str | None:
    """An answer of random allowed tokens; None if it has not ended after `max_tokens`."""
    chooser, answer = random.Random(seed), b""
    for _ in range(max_tokens):
        token = chooser.choice(sorted(allowed(matcher)))
        matcher.accept(token)
        if token in grammars.eos_ids:
            return answer.decode()
        answer += grammars.tokenizer.token_bytes(token)
    return None


def test_the_mask_has_one_bit_for_each_id_of_the_model(grammars: Grammars) -> None:
    """The engine applies it to the logits: with a word too few, the last ids would not be masked."""
    mask = compiled(grammars, ResponseFormat(regex=".*")).mask()
    assert (str(mask.dtype), mask.shape) == ("int32", (-(-grammars.vocab_size // 32),))


@pytest.mark.parametrize("response_format", [ResponseFormat(regex="(?s).*"), ResponseFormat(schema={"type": "string"})])
def test_special_tokens_and_unknown_ids_are_never_allowed(grammars: Grammars, response_format: ResponseFormat) -> None:
    """A role token inside a string would end the turn; ids beyond the tokenizer have no text."""
    matcher, tokenizer = compiled(grammars, response_format), grammars.tokenizer
    for id in tokenizer.encode_text('"some'):
        matcher.accept(id)
        special = {i for i in allowed(matcher) if i >= tokenizer.size or tokenizer.is_special(i)}
        assert special <= set(grammars.eos_ids)


def test_a_special_token_spelled_in_a_choice_is_text(grammars: Grammars) -> None:
    """`<|end|>` in a choice means its letters, not the token that ends the turn."""
    matcher = compiled(grammars, ResponseFormat(choice=("a<|end|>b",)))
    assert accepts(grammars, matcher, "a<|end|>b")


def test_the_end_is_allowed_exactly_where_the_answer_is_complete(grammars: Grammars) -> None:
    """An early end leaves the answer incomplete; if no token is allowed at all, the sequence ends with an error."""
    matcher, ends = compiled(grammars, ResponseFormat(regex="ab?")), set(grammars.eos_ids)
    assert not ends & allowed(matcher)
    a, b = (grammars.tokenizer.encode_text(letter)[0] for letter in "ab")
    matcher.accept(a)
    assert allowed(matcher) == {b, *ends}
    matcher.accept(b)
    assert allowed(matcher) == ends


def test_a_token_that_is_not_allowed_is_an_error(grammars: Grammars) -> None:
    """After such a token the library allows the end, as if the answer were complete."""
    matcher = compiled(grammars, ResponseFormat(choice=("yes", "no")))
    with pytest.raises(InputError, match="doesn't satisfy the grammar"):
        matcher.accept(grammars.tokenizer.encode_text("w")[0])
    with pytest.raises(InputError):
        matcher.mask()


def test_forks_are_independent(grammars: Grammars) -> None:
    """Several answers to one prompt start from one compiled grammar."""
    first = compiled(grammars, ResponseFormat(choice=("red", "green")))
    second, third = first.fork(), first.fork()
    assert accepts(grammars, first, "red")
    assert accepts(grammars, second, "green")
    assert not accepts(grammars, third, "reen")


COSTLY = ResponseFormat(regex="(.*a.{1000}b.{1000}|.*c.{999}d.{888}){50}")


def test_case_b15_a_fork_that_runs_out_of_fuel_ends_no_other_answer(grammars: Grammars) -> None:
    """Case B15: copies made by the library share a lexer. A copy that accepted tokens without calls of `mask`, which
    renew the fuel, ended all other copies."""
    first = compiled(grammars, COSTLY)
    starved, sibling = first.fork(), first.fork()
    letters = grammars.tokenizer.encode_text("abcd" * 1000)

    def spend() -> None:
        for token in letters:
            starved.accept(token)

    with pytest.raises(InputError, match="too many expressions"):
        spend()
    with pytest.raises(InputError, match="too many expressions"):
        starved.mask()
    alone = compiled(grammars, COSTLY)
    for token in letters[:5]:
        expected = alone.mask()
        for matcher in (first, sibling, first.fork()):
            np.testing.assert_array_equal(matcher.mask(), expected)
        for matcher in (first, sibling, alone):
            matcher.accept(token)


def test_case_b15_the_cost_limit_of_a_fork_does_not_depend_on_other_forks(grammars: Grammars) -> None:
    """Case B15 with calls of `mask`: each of several answers must end after as many tokens as it would alone."""

    def length(matcher: Matcher, text: str) -> int:
        """The number of tokens of a long text until the answer is too costly."""
        tokens = grammars.tokenizer.encode_text(text * 500)
        for count, token in enumerate(tokens):
            try:
                matcher.mask()
                matcher.accept(token)
            except InputError:
                return count
        return len(tokens)

    first = compiled(grammars, COSTLY)
    forks = [first.fork() for _ in range(3)]
    lengths = [length(fork, "abcd") for fork in forks]
    assert lengths == [length(compiled(grammars, COSTLY), "abcd")] * 3
    assert 5 < lengths[0] < 1900


def test_a_fork_in_the_middle_of_an_answer_has_the_same_state(grammars: Grammars) -> None:
    """It has its own parser, which accepts the same tokens again, with fuel for each of them."""
    matcher = compiled(grammars, COSTLY)
    for token in grammars.tokenizer.encode_text("abcd" * 100):
        matcher.mask()
        matcher.accept(token)
    fork = matcher.fork()
    np.testing.assert_array_equal(fork.mask(), matcher.mask())
    person = compiled(grammars, ResponseFormat(schema=PERSON))
    for token in grammars.tokenizer.encode_text('{"name": "né", "age": '):
        person.accept(token)
    assert accepts(grammars, person.fork().fork(), "4}")
    assert accepts(grammars, person.fork(), '4, "tags": "a"}')


def test_the_source_of_a_grammar_can_be_sent_to_another_process(grammars: Grammars) -> None:
    """It is compiled in the engine, which may run in another process."""
    source = grammar_source(None, [WEATHER, CLOCK], "clock")
    assert source is not None
    received = pickle.loads(pickle.dumps(source))
    assert accepts(grammars, grammars.start(received), 'functools[{"name": "clock", "arguments": {"zone": "UTC"}}]')
    assert grammar_source(None, [WEATHER, CLOCK], "clock") == source


def test_free_answers_and_optional_calls_need_no_grammar(grammars: Grammars) -> None:
    """Unconstrained sequences must not pay for masks."""
    assert grammar_source(None) is None
    assert grammar_source(None, [Tool("f", "")]) is None
    assert grammars.compile(None) is None


@pytest.mark.parametrize(
    ("response_format", "good", "bad"),
    [
        (ResponseFormat(choice=("yes", 'yes, but\n"no"', "né\\€/")), 'yes, but\n"no"', "yes, but"),
        (ResponseFormat(choice=("yes", "né😀\\€/")), "né😀\\€/", "né"),
        (ResponseFormat(regex=r"\d{3}-[a-c]+"), "123-abc", "12-abc"),
        (ResponseFormat(regex='a/b|"c"\n'), "a/b", "a"),
        (ResponseFormat(regex='a/b|"c"\n'), '"c"\n', '"c"'),
        (ResponseFormat(regex="x\nstart: /y/"), "x\nstart: /y/", "y"),
        (ResponseFormat(schema={"type": "array", "items": {"type": "integer"}}), "[1, -20]", "[1,-20]"),
        (ResponseFormat(schema=PERSON), '{"name": "né", "age": 4}', '{"name": "né", "age": 4, "x": 1}'),
        (ResponseFormat(schema=PERSON), '{"name": "a", "age": 4, "tags": 1}', '{"name": "a", "age": 4.5}'),
        (
            ResponseFormat(
                schema={"$defs": {"n": {"type": "array", "items": {"$ref": "#/$defs/n"}}}, "$ref": "#/$defs/n"}
            ),
            "[[], [[]]]",
            "[[], [1]]",
        ),
        # Half of a surrogate pair, which Python could not encode.
        (ResponseFormat(schema={"type": "string"}), '"\\n"', '"\\ud800"'),
    ],
)
def test_a_response_format_allows_matching_answers_only(
    grammars: Grammars, response_format: ResponseFormat, good: str, bad: str
) -> None:
    """Each kind of format, with characters that have a meaning in the grammar's own syntax."""
    assert accepts(grammars, compiled(grammars, response_format), good)
    assert not accepts(grammars, compiled(grammars, response_format), bad)


def test_random_answers_to_a_schema_are_valid(grammars: Grammars) -> None:
    """Any sequence of allowed tokens that ends must be JSON that matches the schema; no model is needed."""
    answers = [random_answer(grammars, compiled(grammars, ResponseFormat(schema=PERSON)), seed) for seed in range(20)]
    values = [json.loads(answer) for answer in answers if answer is not None]
    assert len(values) > 10
    for value in values:
        assert {"name", "age"} <= value.keys() <= {"name", "age", "tags"}
        assert isinstance(value["age"], int)
        assert len(value["name"]) <= 12


WEATHER = Tool("weather", "of a city", {"city": {"type": "str"}, "days": {"type": "int", "default": 1}})
CLOCK = Tool("clock", "", {"type": "object", "properties": {"zone": {"enum": ["UTC", "CET"]}}, "required": ["zone"]})
STOP = Tool("stop", "")


@pytest.mark.parametrize("seed", range(8))
def test_a_required_call_is_parsed_as_a_call_of_a_declared_tool(grammars: Grammars, seed: int) -> None:
    """The parser must understand every forced call, with arguments that the function accepts."""
    answer = random_answer(
        grammars, compiled(grammars, None, (WEATHER, CLOCK, STOP), "required"), seed, max_tokens=3000
    )
    assert answer is not None
    calls = parse_tool_calls(answer)
    assert 1 <= len(calls) <= MAX_CALLS
    for call in calls:
        if call.name == "weather":
            assert isinstance(call.arguments["city"], str)
            assert call.arguments.keys() <= {"city", "days"}
            assert isinstance(call.arguments.get("days", 1), int)
        elif call.name == "clock":
            assert call in (ToolCall("clock", {"zone": "UTC"}), ToolCall("clock", {"zone": "CET"}))
        else:
            assert call == ToolCall("stop", {})


def test_a_named_tool_is_called_once(grammars: Grammars) -> None:
    """The name chooses the tool, and only one call is allowed."""
    one = 'functools[{"name": "clock", "arguments": {"zone": "UTC"}}]'
    tools = (WEATHER, CLOCK)
    assert accepts(grammars, compiled(grammars, None, tools, "clock"), one)
    assert not accepts(grammars, compiled(grammars, None, tools, "clock"), one[:-1] + ", " + one[len("functools[") :])
    assert accepts(grammars, compiled(grammars, None, tools, "required"), one[:-1] + ", " + one[len("functools[") :])
    assert not accepts(grammars, compiled(grammars, None, tools, "weather"), one)


WORDS = ["", "It is sunny.", "Use functools.reduce(f, [1])", "functools", "myfunctools is", "a <|tool_call", "é {\n}"]
ONE = 'functools[{"name": "clock", "arguments": {"zone": "UTC"}}]'


@pytest.mark.parametrize("words", WORDS)
def test_without_parallel_calls_words_are_free_and_may_end_in_one_call(grammars: Grammars, words: str) -> None:
    """A client that can run one call at a time would lose the others, or fail."""

    def allows(text: str) -> bool:
        return accepts(grammars, compiled(grammars, None, (WEATHER, CLOCK), "auto", parallel=False), text)

    assert allows(words)
    assert allows(f"{words} {ONE}")
    assert parse_tool_calls(ONE)
    for more in (ONE, ", " + ONE[len("functools[") :], " functools", f" <|tool_call|>{ONE[9:]}", " and"):
        assert not allows(f"{words} {ONE}{more}")
    for mark in (
        "functools {",
        "functools[1",
        "functools\n[",
        "<|tool_call|>",
        "xfunctools[",
        "éfunctools[",
        "functools{",
    ):
        assert not allows(f"{words} {mark}")


@pytest.mark.parametrize("seed", range(6))
def test_without_parallel_calls_no_answer_has_two(grammars: Grammars, seed: int) -> None:
    """Whatever tokens are drawn: by a required choice, beside a response format, and after words."""
    tools = (WEATHER, CLOCK)
    for matcher in (
        compiled(grammars, None, tools, "required", parallel=False),
        compiled(grammars, ResponseFormat(choice=("done",)), tools, parallel=False),
        compiled(grammars, None, tools, parallel=False),
    ):
        for token in grammars.tokenizer.encode_text("functools["):
            matcher.accept(token)
        answer = random_answer(grammars, matcher, seed, max_tokens=3000)
        assert answer is not None
        assert len(parse_tool_calls(f"functools[{answer}")) == 1
    assert not accepts(grammars, compiled(grammars, None, tools, "required", parallel=False), "It is sunny.")


def test_any_json_object_is_one_answer_of_that_format(grammars: Grammars) -> None:
    """OpenAI's json_object promises an object, not a list or a number, and no schema."""
    for text, good in (('{"a": [1, {"b": null}]}', True), ("{}", True), ("[]", False), ("1", False), ("{} {}", False)):
        assert accepts(grammars, compiled(grammars, ResponseFormat(json_object=True)), text) is good
    assert accepts(grammars, compiled(grammars, ResponseFormat(json_object=True), (CLOCK,), parallel=False), ONE)


def test_a_choice_of_no_tool_needs_no_grammar() -> None:
    """The tools are left out of the prompt instead."""
    assert grammar_source(None, [CLOCK], "none") is None
    assert grammar_source(None, [], "none", False) is None
    assert grammar_source(None, [], "auto", False) is None
    assert "calls" not in str(grammar_source(ResponseFormat(choice=("done",)), [CLOCK], "none"))


def test_with_a_response_format_and_tools_the_answer_is_either(grammars: Grammars) -> None:
    """An agent calls tools until it can give the structured answer; if that were forced, it could not call any."""
    response_format = ResponseFormat(choice=("done",))
    assert accepts(grammars, compiled(grammars, response_format, (STOP,)), "done")
    assert accepts(
        grammars, compiled(grammars, response_format, (STOP,)), 'functools[{"name": "stop", "arguments": {}}]'
    )
    assert not accepts(grammars, compiled(grammars, response_format, (STOP,)), "stop")


def test_references_in_the_parameters_of_a_tool_point_to_its_own_schema(grammars: Grammars) -> None:
    """`#/$defs` means the schema of that tool, although one grammar contains those of all tools."""
    parameters = {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"const": 7}}}
    tools = (Tool("f", "", parameters), Tool("g", "", parameters | {"$defs": {"n": {"const": 8}}}))
    for name, number, good in (("f", 7, True), ("f", 8, False), ("g", 8, True), ("g", 7, False)):
        call = f'functools[{{"name": "{name}", "arguments": {{"n": {number}}}}}]'
        assert accepts(grammars, compiled(grammars, None, tools, "required"), call) is good


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"type": "string"}, "have type 'string'; expected 'object'"),
        ({"city": "str"}, "parameter city of tool f is not a JSON object"),
    ],
)
def test_invalid_declarations_of_parameters_are_refused(parameters: dict[str, Any], message: str) -> None:
    """They would force an answer that is not a tool call."""
    with pytest.raises(InputError, match=message):
        arguments_schema(Tool("f", "", parameters))


@pytest.mark.parametrize(
    ("tools", "choice", "response_format", "message"),
    [
        ((), "required", None, "tool_choice is 'required'; expected auto, none, as there are no tools"),
        ((STOP,), "halt", None, "tool_choice is 'halt'; expected auto, none, required, stop"),
        ((STOP,), "stop", ResponseFormat(regex="a"), "cannot be combined with a response format"),
    ],
)
def test_an_impossible_tool_choice_is_refused(
    tools: tuple[Tool, ...], choice: str, response_format: ResponseFormat | None, message: str
) -> None:
    """A misspelled name must not lead to a free answer."""
    with pytest.raises(InputError, match=message):
        grammar_source(response_format, tools, choice)


@pytest.mark.parametrize(
    ("response_format", "message"),
    [
        (lambda: ResponseFormat(), "has nothing; expected one of schema, regex, choice, json_object"),
        (lambda: ResponseFormat(regex="a", choice=("b",)), "has regex and choice; expected one"),
        (lambda: ResponseFormat(regex="a", json_object=True), "has regex and json_object; expected one"),
        (lambda: ResponseFormat(json_object=cast(Any, {})), "json_object is {}; expected True or False"),
        (lambda: ResponseFormat(regex=""), "regex has 0 characters; expected 1 to 4096"),
        (lambda: ResponseFormat(regex="a" * 5000), "regex has 5000 characters"),
        (lambda: ResponseFormat(regex="a\\"), "lone backslash"),
        (lambda: ResponseFormat(regex="\ud800"), "regex holds a lone surrogate"),
        (lambda: ResponseFormat(regex=cast(Any, b"\xff")), "regex is bytes; expected text"),
        (lambda: ResponseFormat(choice=()), "choice is 0 texts; expected a tuple of 1 to 1024 texts"),
        (lambda: ResponseFormat(choice=("a",) * 2000), "choice is 2000 texts"),
        (lambda: ResponseFormat(choice=("a", "")), "a choice has 0 characters"),
        (lambda: ResponseFormat(choice=cast(Any, "yes")), "choice is str; expected a tuple"),
        (lambda: ResponseFormat(schema=cast(Any, "{}")), "schema is str; expected a JSON object, as a dict"),
    ],
)
def test_an_invalid_response_format_is_refused_when_it_is_created(
    response_format: Callable[[], ResponseFormat], message: str
) -> None:
    """The error comes before a model is loaded or a prompt is processed."""
    with pytest.raises(InputError, match=message):
        response_format()


def nested(depth: int, *children: str) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = dict.fromkeys(children, schema)
    return schema


def circular() -> dict[str, Any]:
    schema: dict[str, Any] = {}
    schema["items"] = schema
    return schema


def alternatives(count: int) -> dict[str, Any]:
    """2 to the power of `count` combinations."""
    pairs = [[{"properties": {f"{name}{i}": {"type": "string"}}} for name in "ab"] for i in range(count)]
    return {"type": "object", "allOf": [{"anyOf": pair} for pair in pairs]}


@pytest.mark.parametrize(
    ("response_format", "message"),
    [
        (ResponseFormat(schema=nested(100, "items")), "has depth 65"),
        (ResponseFormat(schema=nested(60, "items", "not")), "expected at most 64, 4096 and 512"),
        (ResponseFormat(schema=circular()), "has depth 65"),
        (ResponseFormat(schema={"enum": list(range(100_000))}), "100002 values"),
        (ResponseFormat(schema={"properties": {f"p{i}": {} for i in range(600)}}), "600 keys in one object"),
        (ResponseFormat(schema={"const": "x" * 70_000}), "bytes of JSON; expected at most 65536"),
        (
            ResponseFormat(choice=tuple(f"{i:01000}" for i in range(1000))),
            "has 1005035 characters; expected at most 131072",
        ),
        (ResponseFormat(schema={"const": b"\xff"}), "not JSON: Object of type bytes"),
        (ResponseFormat(schema={"const": float("nan")}), "not JSON: Out of range float"),
        (ResponseFormat(schema={"const": "\ud800"}), "cannot be enforced"),
        (ResponseFormat(schema={"$ref": "#"}), "no text fits it"),
        (
            ResponseFormat(schema={"$ref": "file:///etc/passwd"}),
            "cannot be enforced: .*Default retriever does not fetch",
        ),
        (ResponseFormat(schema={"type": "text"}), "Invalid type: text; correct or simplify it"),
        (ResponseFormat(schema={"not": {}}), "Unsatisfiable schema"),
        (ResponseFormat(schema={"contains": {}}), "Unimplemented keys"),
        (ResponseFormat(schema={"x-guidance": {"lenient": True}, "contains": {}}), "Unimplemented keys"),
        (ResponseFormat(schema={"enum": []}), "Unsatisfiable schema"),
        (ResponseFormat(schema={"required": ["a"], "properties": {"a": False}, "type": "object"}), "Unsatisfiable"),
        (ResponseFormat(schema=alternatives(9)), "Too many items"),
        (ResponseFormat(schema=alternatives(30)), "schema too large"),
        (ResponseFormat(schema={"type": "string", "pattern": "(?=a)"}), "look-around"),
        (ResponseFormat(regex="["), "unclosed character class"),
        (ResponseFormat(regex=r"(a)\1"), "backreferences are not supported"),
        (ResponseFormat(regex=r"[^\s\S]"), "no text fits it"),
        (ResponseFormat(regex="(" * 2000 + "a" + ")" * 2000), "cannot be enforced"),
        (ResponseFormat(regex="(((a{100}){100}){100})"), "too many expressions"),
        (ResponseFormat(regex="a{4294967295}"), "too many expressions"),
        (ResponseFormat(regex="(a?){1000}a{1000}"), "too many expressions"),
    ],
)
def test_a_hostile_or_impossible_response_format_is_refused_in_bounded_time(
    grammars: Grammars, response_format: ResponseFormat, message: str
) -> None:
    """It is untrusted input: it must not block the steps of others, fill memory, read files, or be partly ignored."""
    begin = time.perf_counter()
    with pytest.raises(InputError, match=message) as refused:
        grammars.compile(response_format)
    assert time.perf_counter() - begin < SECONDS
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    "response_format",
    [
        ResponseFormat(regex="(a+)+b"),
        ResponseFormat(regex="(a|a)*(a|aa)+$"),
        ResponseFormat(regex="(.*a.{1000}b.{1000}|.*c.{999}d.{888}){50}"),
        ResponseFormat(regex="|".join(f".*{chr(97 + i % 26)}.{{{i}}}" for i in range(300))),
        ResponseFormat(choice=tuple("a" * i for i in range(1, 450))),
        ResponseFormat(schema={"enum": [f"value {i}" for i in range(4000)]}),
        ResponseFormat(schema={"type": "object", "properties": {f"p{i}": {} for i in range(400)}}),
        ResponseFormat(schema={"type": "array", "minItems": 10**9, "items": {"type": "integer"}}),
        ResponseFormat(schema={"type": "string", "minLength": 100_000}),
        ResponseFormat(schema={"type": "string", "pattern": "(a+)+$"}),
        ResponseFormat(schema=alternatives(5)),
        ResponseFormat(
            schema={"anyOf": [{"items": {"type": "string", "pattern": f"^.*a.{{{i}}}b$"}} for i in range(300)]}
        ),
    ],
)
def test_a_costly_response_format_works_or_fails_in_bounded_time(
    grammars: Grammars, response_format: ResponseFormat
) -> None:
    """No step may take long; a format that proves too costly ends only its own answer, with an error."""
    begin = time.perf_counter()
    matcher = compiled(grammars, response_format)
    slowest, chooser = time.perf_counter() - begin, random.Random(1)
    for _ in range(60):
        begin = time.perf_counter()
        try:
            token = chooser.choice(sorted(allowed(matcher)))
            matcher.accept(token)
        except InputError as error:
            assert "too many" in str(error).lower()  # noqa: PT017  (either way is right)
            break
        slowest = max(slowest, time.perf_counter() - begin)
        if token in grammars.eos_ids:
            break
    assert slowest < SECONDS


FORCED = [
    ResponseFormat(regex="a{1000}"),
    ResponseFormat(regex="hello world, this is forced [0-9]"),
    ResponseFormat(regex="what is in the image (red|green){3} circle!"),
    ResponseFormat(regex="é{40}ü"),
    ResponseFormat(regex="(ab){300}(c|d)"),
    ResponseFormat(choice=("hello world " * 40, "hello world " * 40 + "!")),
    ResponseFormat(schema={"type": "object", "properties": {"a_long_name": {"const": "constant " * 20}, "b": {}}}),
]


@pytest.mark.parametrize("response_format", FORCED)
@pytest.mark.parametrize("seed", [0, 1])
def test_case_b6_masks_that_are_known_at_once_are_those_of_each_token(
    grammars: Grammars, response_format: ResponseFormat, seed: int
) -> None:
    """Where the grammar leaves one text, its tokens are computed together; no mask may differ for that."""
    matcher, chooser = compiled(grammars, response_format), random.Random(seed)
    for _ in range(600):
        mask = matcher.mask()
        np.testing.assert_array_equal(mask, structured._mask(matcher._parser))
        ids = np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little"))
        token = int(chooser.choice(list(ids)))
        matcher.accept(token)
        if token in grammars.eos_ids:
            break


def test_case_b6_a_long_text_without_a_choice_is_followed_in_little_time(grammars: Grammars) -> None:
    """Each of 512 masks went through 100,000 letters: 10 s in one answer, in the steps of all others."""
    begin = time.process_time()
    matcher = compiled(grammars, ResponseFormat(regex="a{100000}"))
    for _ in range(512):
        (token,) = allowed(matcher)
        matcher.accept(token)
    assert time.process_time() - begin < SECONDS


def test_case_b6_the_masks_of_an_answer_may_take_a_second_beyond_what_each_may(
    grammars: Grammars, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of the library is for each mask: 0.2 s a token could go on for as long as the answer."""
    clock = itertools.count(0.0, 0.2)
    monkeypatch.setattr("phi4mm.processing.structured.time.thread_time", lambda: next(clock))
    matcher = compiled(grammars, ResponseFormat(regex="(a|b){100}"))
    for _ in range(5):  # 0.18 s beyond 0.02 s each
        matcher.accept(min(allowed(matcher)))
    with pytest.raises(InputError, match="takes too long to follow"):
        matcher.mask()


def test_a_missing_library_is_named_with_the_command_to_install_it(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llguidance is optional: it is needed only for structured output."""
    monkeypatch.setitem(sys.modules, "llguidance", None)
    grammars = Grammars(tokenizer, tokenizer.size, (tokenizer.id(Special.END),))
    assert grammars.compile(None) is None
    for response_format in (ResponseFormat(regex="a"), ResponseFormat(choice=("a",))):
        with pytest.raises(ConfigError, match=r"pip install 'phi4mm\[structured\]'"):
            grammars.compile(response_format)
