"""Tool calls in a growing answer: the same as in the whole one, however it is cut, and as soon as they are certain."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4mm.processing.grammar import grammar_source
from phi4mm.processing.structured import Grammars
from phi4mm.processing.tokenizer import Special, Tokenizer
from phi4mm.processing.tool_calls import MAX_DEPTH, MAX_MISSES, find_tool_calls
from phi4mm.processing.tool_stream import CallDelta, Delta, ToolStream
from phi4mm.protocol.messages import Tool, ToolCall
from tests.processing.test_structured import random_answer

PLOT = Tool("plot", "", {"type": "object", "properties": {}, "additionalProperties": True})
WEATHER = Tool("weather", "", {"city": {"type": "str"}, "days": {"type": "int", "default": 1}})
NOTE = Tool(
    "note", "", {"lines": {"type": "array", "items": {"type": "array", "items": {"maxLength": 6, "type": "string"}}}}
)
TOOLS = (PLOT, WEATHER, NOTE)
NESTED = {"points": [[1, 2], [3, [4, {"a": [5.5e-3]}]]], "text": 'a ] } " ⟨\\', "none": None, "yes": True}
QUOTED = {"text": 'functools[{"name": "weather", "arguments": {"city": "x"}}] <|tool_call|>[', "é\n": "\ud800"}


def deltas(pieces: Iterable[str], *, held_by_grammar: bool = False) -> list[Delta]:
    stream = ToolStream(TOOLS, held_by_grammar=held_by_grammar)
    return [*itertools.chain.from_iterable(map(stream.push, pieces)), *stream.finish()]


def joined(found: Sequence[Delta]) -> tuple[list[ToolCall], str]:
    """The calls and the text of deltas, as a client puts them together."""
    names: list[str] = []
    arguments: list[str] = []
    for delta in found:
        if isinstance(delta, CallDelta) and delta.name is not None:
            assert delta.index == len(names)
            names.append(delta.name)
            arguments.append(delta.arguments)
        elif isinstance(delta, CallDelta):
            assert delta.index == len(names) - 1
            arguments[-1] += delta.arguments
        else:
            assert delta
    calls = [ToolCall(name, json.loads(text)) for name, text in zip(names, arguments, strict=True)]
    return calls, "".join(delta for delta in found if isinstance(delta, str))


def call(name: str, arguments: object) -> str:
    return json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)


ANSWERS = [
    "",
    " \n",
    "Paris is sunny.",
    f"functools[{call('plot', NESTED)}]",
    f"  Let me see.\nfunctools [ {call('plot', QUOTED)},{call('weather', {'city': 'Paris'})} ]\n and wait. ",
    f"<|tool_call|>{call('plot', NESTED)}<|/tool_call|> \n<|tool_call|>[{call('plot', {})}]  <|/tool_call|>",
    f"<|tool_call|>[{call('plot', {})}]  <|/tool_ca",
    f"<|tool_call|>[{call('plot', {})}] <|tool_call|>[{call('plot', {})}] <",
    f"functools[{call('plot', {})}]<|/tool_call|>",
    f"functools[{call('plot', {})}, {call('other', QUOTED)}] functools{call('weather', {'city': 'a'})}",
    f"functools[{call('plot', QUOTED)}, {call('plot', QUOTED)} functools[] myfunctools[{call('plot', {})}]",
    'functools[{"name": "weather", "arguments": "{\\"city\\": \\"a\\nb\\"}"}]',
    'functools[{"name": "weather", "arguments": {"city": "a\n\tb"}}] 😀 <|tool_call',
    'functools[{"name": "plot", "arguments": {"n": [-0, 1.5E+3, 12e-1, true, false, null]}, "id": 5}] functool',
    *(f'functools[{{"name": "plot", "arguments": {{"n": {n}}}}}] x' for n in ("01", "-", "1.", "NaN", "1e999", "tru")),
    *(f"functools[{{{text}}}]" for text in ('"a" 1', '"a": 1,', "1: 2", '"\\x": 1', '"\\u12g4": 1', '"a":: 1')),
    "functools[[]] functools[1] functools[{}] functools[],functools 7 functools functools<|tool_call|><|/tool_call|>",
    "functools " * (MAX_MISSES - 1) + f"functools[{call('plot', {})}]",
    "functools " * MAX_MISSES + f"functools[{call('plot', {})}]",
    *(f"functools[{call('plot', json.loads('[' * n + ']' * n))}]" for n in (MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1)),
    *(
        f'functools[{{"x": {"[" * n + "]" * n}, "name": "plot", "arguments": {{}}}}]'
        for n in (MAX_DEPTH, MAX_DEPTH + 1)
    ),
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_deltas_of_any_cut_are_the_calls_and_the_text_of_the_whole(answer: str) -> None:
    """A marker cut in two was text in one server, and a call with arrays was lost in another."""
    expected = find_tool_calls(answer, TOOLS)
    assert joined(deltas([answer])) == expected
    assert joined(deltas(answer)) == expected
    for cut in range(len(answer)):
        assert joined(deltas([answer[:cut], "", answer[cut:]])) == expected, answer[:cut]


FRAGMENTS = [
    *(
        "functools",
        "functools[",
        "<|tool_call|>",
        "<|/tool_call|>",
        "<|",
        "func",
        "my",
        "x",
        " ",
        "\n",
        "\u00a0",
        "é😀",
    ),
    *("[", "]", "{", "}", '"', "\\", "\\u00", ",", ":", ", ", "-", "0", "1.5", "e9", "true", "nul", "NaN"),
    *(
        '"name": "plot"',
        '"arguments": {',
        '{"name": "plot", "arguments": {',
        '"name":"weather"',
        '"city": "',
        "}}]",
        "}]",
    ),
    *(call("plot", NESTED), call("plot", QUOTED), call("weather", {"city": "a"}), call("weather", {"x": 1})),
    *(f"functools[{call('plot', {})}]", f"<|tool_call|>{call('other', {'a': [1]})}"),
]


@settings(deadline=None, max_examples=400)
@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=16), st.lists(st.integers(0, 200)))
def test_hostile_answers_are_split_as_the_whole_is(fragments: list[str], cuts: list[int]) -> None:
    """No text may be lost, sent twice, or run as a call that the whole answer does not hold."""
    answer = "".join(fragments)
    ends = [0, *sorted(cut for cut in cuts if cut < len(answer)), len(answer)]
    found = deltas(answer[a:b] for a, b in itertools.pairwise(ends))
    assert joined(found) == find_tool_calls(answer, TOOLS)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.dictionaries(st.text(), _JSON, max_size=3), min_size=1, max_size=3), st.booleans(), st.integers(1, 9)
)
def test_any_arguments_arrive_unchanged(arguments: list[dict[str, object]], ascii_only: bool, size: int) -> None:
    """Arrays, nesting, escapes and numbers must be those that the model wrote."""
    calls = [{"name": "plot", "arguments": each} for each in arguments]
    answer = f"Now: functools{json.dumps(calls, ensure_ascii=ascii_only)}"
    found = deltas(answer[at : at + size] for at in range(0, len(answer), size))
    assert joined(found) == ([ToolCall("plot", each) for each in arguments], "Now:")


def test_text_is_sent_at_once_and_a_call_at_its_last_bracket() -> None:
    """Text that waits for the end of the answer is not streamed."""
    stream = ToolStream(TOOLS)
    assert stream.push("Let me ") == ["Let me"]
    assert stream.push("see: f") == [" see:"]
    assert stream.push("u") == []
    assert stream.push("n <") == [" fun"]
    assert stream.push("b>functools") == [" <b>"]
    assert stream.push(f"[{call('plot', NESTED)}") == []
    assert stream.push("]") == [CallDelta(0, "plot", json.dumps(NESTED, ensure_ascii=False))]
    assert stream.push(" and functools.reduce") == ["and functools.reduce"]
    assert stream.push(' functools[{"name" ') == []
    assert stream.finish() == [' functools[{"name"']


@pytest.mark.parametrize(
    "text",
    [
        *("functools.", "functools[[", "functools[1", 'functools["', "functools[{1", 'functools[{"a" "', "functools[]"),
        *(
            'functools[{"a": x',
            'functools[{"a": "\\x',
            'functools[{"a": "\\u00g',
            'functools[{"a": tx',
            "functools[{}}",
        ),
        *(
            'functools[{"a": 01,',
            'functools[{"a": [1}',
            "functools" + '[{"a":' + "[" * MAX_DEPTH + "[",
            "<|tool_call|>x",
        ),
    ],
)
def test_what_cannot_become_a_call_is_sent_at_the_character_that_shows_it(text: str) -> None:
    """An answer about functools.reduce must not wait for its end."""
    stream = ToolStream(TOOLS)
    assert [stream.push(character) for character in text[:-1]] == [[]] * (len(text) - 1)
    assert stream.push(text[-1]) == [text]


@pytest.mark.parametrize(
    "answer",
    [
        *("functools" * 10_000, " functools[" * 20_000, ' functools["' * 20_000, "<|tool_call|>[{" * 10_000),
        *(' functools[{"name": "f", "arguments": {"x": "' * 4_000, "functools[{}," * 10_000, "f" * 50_000),
        *("functools[{" + " " * 50_000, 'functools[{"a":' + "9" * 50_000, 'functools[{"' + "\\n" * 30_000),
        *("a" + " " * 50_000, f"functools[{call('plot', {})}]" * 3_000, 'functools[{"a": [' + "1," * 30_000),
    ],
)
def test_hostile_answers_take_linear_time_letter_by_letter(answer: str) -> None:
    """Reading again from the mark for each piece takes minutes for an answer of this length."""
    begin = time.process_time()
    found = joined(deltas(answer))
    assert time.process_time() - begin < 3
    assert found == find_tool_calls(answer, TOOLS)
    cuts = sorted(random.Random(1).sample(range(len(answer)), 50))
    assert joined(deltas(answer[a:b] for a, b in itertools.pairwise([0, *cuts, len(answer)]))) == found


@pytest.fixture(scope="module")
def grammars(tokenizer: Tokenizer) -> Grammars:
    return Grammars(tokenizer, tokenizer.size, (tokenizer.id(Special.END),))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("choice", "parallel"), [("required", True), ("weather", True), ("auto", False)])
def test_calls_of_a_grammar_are_sent_while_they_grow(
    grammars: Grammars, choice: str, parallel: bool, seed: int
) -> None:
    """Any answer of the grammar, cut anywhere: joined as in the whole, and sent in the same parts up to the cut."""
    source = grammar_source(None, (WEATHER, NOTE), choice, parallel)
    assert source is not None
    matcher = grammars.start(source)
    for token in grammars.tokenizer.encode_text("functools["):
        matcher.accept(token)
    rest = random_answer(grammars, matcher, seed, 3000)
    assert rest is not None
    answer = f"functools[{rest}"
    calls, text = find_tool_calls(answer, TOOLS)
    assert calls
    assert (
        joined(deltas(answer, held_by_grammar=True)) == joined(deltas([answer], held_by_grammar=True)) == (calls, text)
    )
    for cut in random.Random(seed).sample(range(len(answer)), 20):
        assert joined(deltas([answer[:cut], answer[cut:]], held_by_grammar=True)) == (calls, text)
        begun = [delta for delta in deltas(answer[:cut], held_by_grammar=True) if isinstance(delta, CallDelta)]
        whole = [delta for delta in deltas(answer, held_by_grammar=True) if isinstance(delta, CallDelta)]
        assert begun[:-1] == whole[: len(begun[:-1])]


def test_arguments_are_sent_at_each_piece_under_a_grammar() -> None:
    """A file that is written by a call would else arrive at its end; words and other marks are text."""
    stream = ToolStream(TOOLS, held_by_grammar=True)
    assert stream.push("My functools is. func") == ["My functools is."]
    assert stream.push('tools[{"name": "plot", "argum') == []
    assert stream.push('ents": ') == [CallDelta(0, "plot", "")]
    assert stream.push('{"x": "}\\u00') == [CallDelta(0, None, '{"x": "}')]
    assert stream.push('e9"') == [CallDelta(0, None, '\\u00e9"')]
    assert stream.push("}") == [CallDelta(0, None, "}")]
    assert stream.push('}, {"name": "weather", "arguments": {"ci') == [
        CallDelta(1, "weather", ""),
        CallDelta(1, None, '{"ci'),
    ]
    assert stream.push('ty": "a') == [CallDelta(1, None, 'ty": "a')]
    assert stream.finish() == []
    cut = ToolStream(TOOLS, held_by_grammar=True)
    assert cut.push('functools[{"name": "pl') == []
    assert cut.finish() == ['functools[{"name": "pl']
    deep = f'functools[{{"name": "plot", "arguments": {{"x": {"[" * 99}'
    assert (
        joined([delta for delta in deltas([deep], held_by_grammar=True) if isinstance(delta, str)])[1]
        == f'{{"x": {"[" * 99}'
    )
