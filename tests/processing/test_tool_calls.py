"""Tool calls: both published formats parsed in linear time, other text left alone; declarations checked."""

from __future__ import annotations

import gc
import json
import time
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4mm.errors import InputError
from phi4mm.processing.tool_calls import (
    as_tool,
    declared_tools,
    find_tool_calls,
    parse_tool_calls,
    tool_from_function,
    tools_json,
)
from phi4mm.protocol.messages import Tool, ToolCall

PARIS = ToolCall("get_weather", {"city": "Paris"})
NESTED = {"points": [[1, 2], [3, [4, {"a": [5]}]]], "text": 'a ] } " ⟨\\', "none": None, "yes": True}


@pytest.mark.parametrize(
    "answer",
    [
        'functools[{"name": "get_weather", "arguments": {"city": "Paris"}}]',
        ' \nfunctools [ {"name":"get_weather","parameters":{"city":"Paris"}} ]\n',
        'functools{"name": "get_weather", "arguments": {"city": "Paris"}}',
        '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Paris"}}]<|/tool_call|>',
        '<|tool_call|>{"name": "get_weather", "arguments": {"city": "Paris"}}<|/tool_call|>',
        '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Paris"}}]',
        'functools[{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}]',
        'functools[{"id": 1, "type": "function", "name": "get_weather", "arguments": {"city": "Paris"}}]',
    ],
)
def test_every_published_format_of_a_call_is_parsed(answer: str) -> None:
    """Otherwise users would see the call as text."""
    assert parse_tool_calls(answer) == [PARIS]


def test_several_calls_are_parsed_in_order() -> None:
    """Parallel calls come in one list, or each in its own tags."""
    one, two = '{"name": "a", "arguments": {"x": 1}}', '{"name": "b", "arguments": {}}'
    both = [ToolCall("a", {"x": 1}), ToolCall("b", {})]
    assert parse_tool_calls(f"functools[{one}, {two}]") == both
    assert parse_tool_calls(f"<|tool_call|>[{one}]<|/tool_call|>\n<|tool_call|>{two}<|/tool_call|>") == both


def test_nested_arrays_and_brackets_in_strings_survive() -> None:
    """The pattern of another server loses calls with array arguments."""
    answer = "functools" + json.dumps([{"name": "plot", "arguments": NESTED}])
    assert parse_tool_calls(answer) == [ToolCall("plot", NESTED)]


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "The weather in Paris is fine.",
        "functools",
        "functools.reduce(f, [1, 2])",
        "functools[1, 2]",
        "functools[]",
        'functools[{"name": "f", "arguments": {}}',
        'functools[{"name": "f", "arguments": {}}] is how one writes a call',
        'Write functools[{"name": "f", "arguments": {}}]',
        'functools[{"name": "f", "arguments": [1]}]',
        'functools[{"name": "f", "arguments": "no json"}]',
        'functools[{"name": "f", "arguments": {"x": NaN}}]',
        'functools[{"name": "f", "arguments": {"x": 1e999}}]',
        'functools[{"name": 7, "arguments": {}}]',
        'functools[{"name": "rm -rf /", "arguments": {}}]',
        'functools[{"arguments": {}}]',
        '[{"name": "f", "arguments": {}}]',
        '{"name": "f", "arguments": {}}',
        "<|tool_call|>not json<|/tool_call|>",
        "<|tool_call|><|/tool_call|>",
        "<|/tool_call|>",
    ],
)
def test_text_that_only_resembles_a_call_stays_text(answer: str) -> None:
    """An explanation of calls, or half a call, must not run a function."""
    assert parse_tool_calls(answer) == []


@pytest.mark.parametrize(
    "answer",
    [
        "functools" * 120_000,
        "functools[" * 100_000,
        "functools" + "[" * 1_000_000,
        "functools[" + '{"a":' * 200_000,
        'functools["' + '\\"' * 500_000,
        "<|tool_call|>" * 80_000,
        "<|tool_call|>[{" * 70_000,
        "functools" + " " * 1_000_000 + "x",
        'functools[{"name": "f", "arguments": {"x": ' + "9" * 1_000_000 + "}}]",
        'functools[{"name": "f", "arguments": "' + "[" * 1_000_000 + '"}]',
        "functools[" + '{"name": "f", "arguments": {}},' * 33_000,
        "x" * 5_000_000,
    ],
)
def test_hostile_answers_of_a_megabyte_are_text_within_a_second(answer: str) -> None:
    """Quadratic or exponential parsing froze another server, and deep nesting can end the process."""
    gc.disable()  # a collection of all objects of the suite, and its other threads, are no time of the parser
    try:
        start = time.thread_time()
        assert parse_tool_calls(answer) == []
        assert time.thread_time() - start < 1
    finally:
        gc.enable()


def test_the_depth_of_arguments_is_limited() -> None:
    """The limit must not depend on the depth of the caller's stack."""
    for depth, calls in ((60, 1), (70, 0)):
        argument = "[" * depth + "]" * depth
        assert len(parse_tool_calls(f'functools[{{"name": "f", "arguments": {{"x": {argument}}}}}]')) == calls


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(arguments=st.dictionaries(st.text(), _JSON, max_size=4), noise=st.text(max_size=30))
def test_any_arguments_are_parsed_unchanged_and_noise_is_text(arguments: dict[str, Any], noise: str) -> None:
    """Escapes, surrogate pairs and unusual keys must not change a call, and no text may raise an exception."""
    call = json.dumps([{"name": "f", "arguments": arguments}])
    assert parse_tool_calls("functools" + call) == [ToolCall("f", arguments)]
    parse_tool_calls("functools" + noise)
    parse_tool_calls("functools" + call[: len(noise)])


def weather(city: str, days: int = 1, unit: Literal["C", "F"] = "C", tags: list[str] | None = None) -> str:
    """Tell the weather
    of a city.

    city: its name, as in "Paris: France"
    days (int): how many
    """
    return city


def test_a_function_is_declared_with_its_docstring_and_annotations() -> None:
    """Descriptions, defaults and required names must reach the prompt."""
    assert tool_from_function(weather) == Tool(
        "weather",
        "Tell the weather of a city.",
        {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": 'its name, as in "Paris: France"'},
                "days": {"type": "integer", "description": "how many", "default": 1},
                "unit": {"enum": ["C", "F"], "default": "C"},
                "tags": {"type": "array", "items": {"type": "string"}, "default": None},
            },
            "required": ["city"],
        },
    )


def test_functions_that_json_cannot_describe_are_refused() -> None:
    """The model would not know their parameters."""

    def unnamed(*values: int) -> None: ...

    def complex_one(value: complex) -> None: ...

    with pytest.raises(InputError, match="parameter values of tool unnamed needs a name and an annotation"):
        tool_from_function(unnamed)
    with pytest.raises(InputError, match="parameter x of tool <lambda> needs a name and an annotation"):
        tool_from_function(lambda x: x)
    with pytest.raises(InputError, match=r"parameter value of tool complex_one is annotated .*complex.*; expected str"):
        tool_from_function(complex_one)
    with pytest.raises(InputError, match="a tool is of type int; expected a Tool, a dict or a function"):
        as_tool(7)  # type: ignore[arg-type]


def test_tool_dicts_of_the_model_card_and_of_openai_are_equivalent() -> None:
    """Users of either format need not rewrite their tools."""
    flat: dict[str, Any] = {"name": "f", "description": "d", "parameters": {"city": {"type": "str"}}}
    expected = Tool("f", "d", {"city": {"type": "str"}})
    assert as_tool(flat) == as_tool({"type": "function", "function": {**flat, "strict": True}}) == expected
    assert as_tool(expected) is expected
    assert as_tool({"name": "f"}) == Tool("f", "", {})


@pytest.mark.parametrize(
    ("tool", "message"),
    [
        ({}, "a tool has no name; expected"),
        ({"type": "function"}, "a tool has no name; expected"),
        ({"type": "function", "function": 3}, "a tool has no name; expected"),
        ({"name": 'a"b'}, "a tool is named 'a\"b'; expected 1 to 64 letters"),
        ({"name": "wetter_für"}, "a tool is named 'wetter_für'"),
        ({"name": ""}, "a tool is named ''"),
        ({"name": None}, "a tool is named None"),
        ({"name": "x" * 65}, "a tool is named"),
        (
            {"name": "f", "paramaters": {}},
            "tool 'f' has the unknown key 'paramaters'; expected description, name, param",
        ),
        ({"name": "f", "parameters": [1]}, "needs text as description and a JSON object as parameters"),
        ({"name": "f", "parameters": {"x": {1, 2}}}, "are not JSON"),
        ({"name": "f", "parameters": {"x": float("nan")}}, "are not JSON"),
    ],
)
def test_invalid_tools_are_refused(tool: dict[str, Any], message: str) -> None:
    """A name must not break the JSON of the prompt, and no key may be ignored silently."""
    with pytest.raises(InputError, match=message):
        as_tool(tool)


def test_circular_and_very_deep_schemas_are_refused() -> None:
    """A schema that contains itself, or is ten thousand deep, must not end the process."""
    loop: dict[str, Any] = {}
    loop["self"] = loop
    deep: dict[str, Any] = {}
    for _ in range(10_000):
        deep = {"x": deep}
    for parameters in (loop, deep):
        with pytest.raises(InputError, match=r"are not JSON|nested more than 64 deep"):
            as_tool(Tool("f", "", parameters))


def test_tools_are_declared_in_the_json_of_the_model_card() -> None:
    """Letters are not escaped, as the model reads them better, and the keys have the order of the model card."""
    assert (
        tools_json([Tool("f", "Größe", {"x": 1})]) == '[{"name": "f", "description": "Größe", "parameters": {"x": 1}}]'
    )


GET_WEATHER = as_tool({"name": "get_weather", "parameters": {"city": {"type": "str"}, "day": {"type": "str"}}})
OPEN = Tool("open", "", {"type": "object", "properties": {}, "additionalProperties": True})


@pytest.mark.parametrize(
    "answer",
    [
        'functools[{"name": "play_music", "arguments": {"genre": "jazz"}}]',
        'functools[{"name": "get_weather", "arguments": {"city": "Paris", "shell": "rm"}}]',
        '<|tool_call|>[{"name": "play_music", "arguments": {}}]<|/tool_call|>',
        'functools[{"name": "get_weather", "arguments": {}}, {"name": "play_music", "arguments": {}}]',
        'functools[{"name": "play_music", "arguments": {"q": "functools[]"}}] functools[]',
    ],
)
def test_case_a9_what_was_not_declared_stays_text(answer: str) -> None:
    """A program that runs what it is handed would run, or look up, a function that nobody offered."""
    assert find_tool_calls(answer, [GET_WEATHER]) == ([], answer)


def test_case_a9_a_declaration_that_leaves_arguments_open_takes_any() -> None:
    """Prevents calls from being lost whose schema says that other arguments may come."""
    answer = 'functools[{"name": "open", "arguments": {"anything": 1}}]'
    assert find_tool_calls(answer, [GET_WEATHER, OPEN]) == ([ToolCall("open", {"anything": 1})], "")
    odd = Tool("odd", "", {"type": "string"})
    assert find_tool_calls('functools[{"name": "odd", "arguments": {"x": 1}}]', [odd])[0] == []
    odd = Tool("odd", "", {"type": "object", "properties": 3})
    assert find_tool_calls('functools[{"name": "odd", "arguments": {"x": 1}}]', [odd])[0] == []


@pytest.mark.parametrize(
    ("answer", "city"),
    [
        ('functools[{"name": "get_weather", "arguments": {"city": "Paris\nFrance"}}]', "Paris\nFrance"),
        ('functools[{"name": "get_weather", "arguments": {"city": "Paris\tFrance"}}]', "Paris\tFrance"),
        ('functools[{"name": "get_weather", "arguments": "{\\"city\\": \\"a\\nb\\"}"}]', "a\nb"),
        ('functools[{"name": "get_weather", "arguments": null}]', None),
        ('functools[{"name": "get_weather", "arguments": null, "parameters": null}]', None),
    ],
)
def test_case_a10_calls_are_read_as_models_write_them(answer: str, city: str | None) -> None:
    """Strict JSON would show the person a call that anyone can read."""
    call = ToolCall("get_weather", {} if city is None else {"city": city})
    assert parse_tool_calls(answer) == [call]
    assert find_tool_calls(answer, [GET_WEATHER]) == ([call], "")


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        ("Let me look.\n{}", "Let me look."),
        ("{} One moment.", "One moment."),
        ("I ask {} and wait.", "I ask and wait."),
        ("```\n{}\n```", "```\n```"),
        ("Like functools.reduce(f): {}", "Like functools.reduce(f):"),
        ("functools[1] functools {}", "functools[1] functools"),
        ('functools[{{"name": "other"}}] {}', 'functools[{"name": "other"}]'),
    ],
)
def test_case_a10_words_beside_a_call_are_content(answer: str, content: str) -> None:
    """Models announce what they do: the call must not be lost for it, nor the words."""
    call = 'functools[{"name": "get_weather", "arguments": {"city": "Paris"}}]'
    marked = '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Paris"}}]<|/tool_call|>'
    for form in (call, marked):
        assert find_tool_calls(answer.format(form), [GET_WEATHER]) == ([PARIS], content)
    two = [PARIS, PARIS]
    assert find_tool_calls(f"First {call} then {marked}.", [GET_WEATHER]) == (two, "First then .")


def test_case_a10_a_name_that_ends_in_the_mark_begins_no_call() -> None:
    """Prevents words such as myfunctools from being cut in two."""
    answer = 'myfunctools[{"name": "get_weather", "arguments": {}}]'
    assert find_tool_calls(answer, [GET_WEATHER]) == ([], answer)


@pytest.mark.parametrize(
    "answer",
    [
        *("functools" * 120_000, " functools[" * 100_000, ' functools["' * 90_000, "<|tool_call|>[{" * 70_000),
        *(' functools[{"name": "f", "arguments": {"x": "' * 20_000, ' functools[", ", ' * 60_000),
        *(" functools" + "[" * 1_000_000, ' functools[{"name":"f"}' * 40_000, ' functools["\\"' * 90_000),
    ],
)
def test_case_a10_looking_for_calls_in_a_megabyte_takes_a_second(answer: str) -> None:
    """Prevents marks inside the strings of others from being read over and over."""
    start = time.process_time()
    assert find_tool_calls(answer, [GET_WEATHER]) == ([], answer.strip())
    assert time.process_time() - start < 1


def test_case_a9_a_raw_prompt_declares_its_tools_too() -> None:
    """Prevents the raw form of a prompt from being the way around the check."""
    tools = [GET_WEATHER, OPEN]
    assert declared_tools(f"<|system|><|tool|>{tools_json(tools)}<|/tool|><|end|><|user|>Hi<|end|>") == tools
    assert declared_tools("<|tool|>[{}, 3]<|/tool|><|tool|>not json<|/tool|><|tool|>") == []
    assert declared_tools("<|tool|>" * 100_000) == []


def test_case_c_a_function_that_cannot_be_read_is_an_input_error() -> None:
    """No signature, an unknown name, no Python at all, and code that fails."""

    def with_annotation(annotation: str) -> Any:
        def tool(city: Any) -> None: ...

        tool.__annotations__["city"] = annotation
        return tool

    for function in (str, int, max, *map(with_annotation, ("Unknown", "1 +", "1 / 0"))):
        with pytest.raises(InputError):
            tool_from_function(function)
