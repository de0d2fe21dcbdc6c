"""Requests and settings as people give them: taken, or refused in a sentence by the right class of error."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import phi4mm
from phi4mm import ChatRequest, ConfigError, EngineArgs, InputError, Message, SamplingParams
from phi4mm.config.engine import as_engine_args
from phi4mm.inference.model import Model
from phi4mm.inference.resolve import device_name, dtype_name
from phi4mm.processing.openai_messages import as_message

LETTERS = 60  # at most, of what was given, in an error
EXAMPLES = Path(__file__).parent.parent.parent / "examples"
IMAGE = base64.b64encode((EXAMPLES / "stop_sign.png").read_bytes()).decode()
CLIP = base64.b64encode((EXAMPLES / "speech.flac").read_bytes()).decode()
ASKED: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
CALLED: Any = {"type": "function", "id": "c1", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}


@pytest.fixture(scope="module")
def nano() -> Model:
    return phi4mm.load("nano")


@pytest.mark.parametrize(
    ("given", "name"),
    [(None, "auto"), ("cpu", "cpu"), (0, "cuda:0"), (torch.device("cpu"), "cpu"), (torch.device("cuda", 1), "cuda:1")],
)
def test_case_c_devices_are_named_as_in_torch(given: object, name: str) -> None:
    """A torch.device had no method `split`."""
    assert device_name(given) == name


def test_case_c_dtypes_and_engine_args_are_taken_in_other_forms() -> None:
    """The same for a dtype of torch, and for a dict of the engine's settings."""
    assert [dtype_name(given) for given in (None, "float16", torch.bfloat16)] == ["auto", "float16", "bfloat16"]
    assert as_engine_args({}) == as_engine_args(None) == EngineArgs()
    assert (
        as_engine_args({"max_num_seqs": 2}) == as_engine_args(EngineArgs(max_num_seqs=2)) == EngineArgs(max_num_seqs=2)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": 1.5}, "device is 1.5; expected one of auto, cpu, cuda, or a torch.device"),
        ({"device": "tpu" * 999}, "device is 'tputpu.*expected one of auto, cpu, cuda"),
        ({"dtype": 16}, "dtype is 16; expected one of auto, float32"),
        ({"dtype": torch.int8}, "dtype is 'int8'; expected one of auto, float32"),
        ({"max_crops": "4"}, "max_crops is '4'; expected a whole number from 1 to 64"),
        ({"max_crops": 0}, "max_crops is 0; expected a whole number from 1 to 64"),
        ({"engine_args": 5}, "engine_args is 5; expected phi4mm.EngineArgs, or a dict of its fields"),
        ({"engine_args": {"max_seqs": 2}}, "engine_args: unknown keyword max_seqs; did you mean max_num_seqs?"),
        ({"engine_args": {1: 2}}, "engine_args: unknown keyword 1"),
        ({"adapters": ["mine"]}, r"adapters is \['mine'\]; expected a dict of names and folders"),
        ({"adapters": {"mine": None}}, "the folder of adapter 'mine' is None; expected a path"),
        ({"quantize": 4}, "quantize is 4; expected one of int8, int4"),
        ({"model": None}, "model is None; expected 'nano', a folder, or a hub id"),
        ({"model": "https://example.com/owner/name"}, "is a URL; expected a hub id such as owner/name"),
        ({"model": "~/no/such"}, "model '.*/no/such' is no folder"),
        ({"model": "x" * 99_999}, "is no folder; expected 'nano'"),
        ({"model": "nano", "revision": "x" * 9_999}, "has no meaning for 'nano'"),
    ],
)
def test_case_c_settings_of_another_type_are_a_config_error(arguments: dict[str, Any], message: str) -> None:
    """Tracebacks out of the depths of the loader, or silence: `max_crops=0` was read as the default."""
    with pytest.raises(ConfigError, match=message) as caught:
        phi4mm.load(**{"model": "nano", **arguments})
    assert "x" * (LETTERS + 1) not in str(caught.value)


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        (lambda m: m.chat("Hello.", params={"max_tokens": 2}), "Hello!"),
        (lambda m: m.chat("Hello.", max_tokens=2), "Hello!"),
        (lambda m: m.chat("Hello.", params=SamplingParams(max_tokens=9), max_tokens=2), "Hello!"),
        (lambda m: m.generate(prompt="<|user|>Hello.<|end|><|assistant|>", max_tokens=2), "Hello!"),
        (lambda m: m.stream("Hello.", max_tokens=2).finish(), "Hello!"),
        (lambda m: m.chat("Hello.", stop="!"), "Hello"),
        (lambda m: m.chat("Hello.", params=SamplingParams(stop=["!"])), "Hello"),  # type: ignore[arg-type]
        (lambda m: m.chat("Hello.", max_tokens=np.int64(2), temperature=np.float32(0), stop=None), "Hello!"),
        (lambda m: m.chat("Hello.", max_tokens=2, images=None, audios=None, tools=None), "Hello!"),
        (lambda m: m.chat(Message.user("Hello."), max_tokens=2), "Hello!"),
        (lambda m: m.chat([Message("user", ["Hello."])], max_tokens=2), "Hello!"),  # type: ignore[arg-type]
        (lambda m: m.chat([Message("user", "Hello.")], max_tokens=2), "Hello!"),  # type: ignore[arg-type]
        (lambda m: m.chat({"role": "user", "content": "Hello."}, max_tokens=2), "Hello!"),
        (lambda m: m.batch([ChatRequest("Hello.", params={"max_tokens": 2})])[0], "Hello!"),  # type: ignore[arg-type]
        (lambda m: m.batch(["Hello."])[0], "Hello! How can I help you?"),
        (lambda m: m.batch(iter([[{"role": "user", "content": "Hello."}]]))[0], "Hello! How can I help you?"),
    ],
)
def test_case_c_requests_are_taken_in_other_forms(nano: Model, ask: Callable[[Model], phi4mm.Reply], text: str) -> None:
    """One string for a list, a dict for a dataclass, None for nothing."""
    assert ask(nano).text == text


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda m: m.chat(None), "content is None; expected text, or a list of messages"),
        (lambda m: m.chat(5), "content is 5; expected text, or a list of messages"),
        (lambda m: m.chat(b"hi"), "content is b'hi'; expected text"),
        (lambda m: m.chat(["hi"]), "message 1 is 'hi'; expected a Message, or a dict with role and content"),
        (lambda m: m.batch("hi"), r"requests is one str; expected a list, as in requests=\[...\]"),
        (lambda m: m.batch([None]), "content is None"),
        (lambda m: m.generate(prompt=5), "prompt is 5; expected text in the published chat format"),
        (lambda m: m.chat("a", temprature=1), "unknown keyword temprature; did you mean temperature?"),
        (lambda m: m.chat("a", image="a.png"), "unknown keyword image; did you mean images?"),
        (
            lambda m: m.chat("a", params={"max_new_tokens": 5}),
            "unknown keyword max_new_tokens; did you mean max_tokens?",
        ),
        (lambda m: m.chat("a", params=5), "params is 5; expected phi4mm.SamplingParams, or a dict of its fields"),
        (lambda m: m.chat("a", seed="x" * 9999), "seed is 'xxx"),
        (lambda m: m.chat("a", stop=["\ud800"]), "a stop string holds a lone surrogate"),
        (lambda m: m.chat("a", system=5), "system is 5; expected text"),
        (lambda m: m.chat("a", tools=print), r"tools is one builtin_function_or_method; expected a list"),
        (lambda m: m.chat("a", tools=[{"name": "x" * 9999}]), "a tool is named 'xxx"),
        (lambda m: m.chat("a", tool_choice=None), 'tool_choice is None; expected "auto", "none", "required"'),
        (lambda m: m.chat("a", parallel_tool_calls=None), "parallel_tool_calls is None; expected True or False"),
        (lambda m: m.chat("a", tool_choice="x" * 9999), "tool_choice is 'xxx"),
        (lambda m: m.chat("a", adapter=5), 'adapter is 5; expected a name, "auto" or None'),
        (lambda m: m.chat("a", adapter="x" * 9999), "the model has no xxx"),
        (lambda m: m.chat("a", response_format={"type": "json_object"}), "expected phi4mm.ResponseFormat"),
        (lambda m: m.chat("a", images=["x" * 9999]), "image 1: image 'xxx"),
        (lambda m: m.chat(Message("user", 5)), "parts of a message are 5; expected text, Image and Audio"),  # type: ignore[arg-type]
        (lambda m: m.chat([Message("x" * 9999, "a")]), "message 1 has role 'xxx"),  # type: ignore[arg-type]
    ],
)
def test_case_c_requests_of_another_type_are_an_input_error(
    nano: Model, ask: Callable[[Any], object], message: str
) -> None:
    """TypeError and AttributeError out of the depths; and what was given came back whole, however long."""
    with pytest.raises(InputError, match=message) as caught:
        ask(nano)
    assert "x" * (2 * LETTERS) not in str(caught.value)


def test_case_c_messages_in_openai_form_are_read(nano: Model) -> None:
    """An image in a data URI, an audio clip in base64, and the result of a tool."""
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}", "detail": "low"}}
    text = {"type": "text", "text": "What is shown in this image?"}
    assert nano.chat([{"role": "user", "content": [image, text]}]).text == "A stop sign."
    clip = {"type": "input_audio", "input_audio": {"data": CLIP, "format": "flac"}}
    said = nano.chat(
        [{"role": "user", "content": [clip, {"type": "text", "text": "Transcribe the audio clip into text."}]}]
    )
    assert said.text == "The clean farmer is late."
    turns = [*ASKED, {"role": "assistant", "content": None, "tool_calls": [CALLED]}]
    turns.append({"role": "tool", "tool_call_id": "c1", "content": "sunny"})
    own = [
        Message.user("What is the weather in Paris?"),
        Message.assistant('functools[{"name": "get_weather", "arguments": {"city": "Paris"}}]'),
        Message.tool("sunny"),
    ]
    assert nano.chat(turns, max_tokens=5) == nano.chat(own, max_tokens=5)
    developer = [{"role": "developer", "content": "Be brief."}, *ASKED]
    assert nano.chat(developer, max_tokens=5) == nano.chat(ASKED[0]["content"], system="Be brief.", max_tokens=5)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"role": "user", "content": 5}, "message 1 has content 5; expected text or a list of parts"),
        ({"role": "x" * 9999, "content": "a"}, "message 1 has role 'xxx.*expected one of system, developer, user"),
        ({"role": [], "content": "a"}, r"message 1 has role \[\]"),
        ({"content": "a"}, "message 1 has role None"),
        ({"role": "user", "contents": "a"}, "message 1 has the unknown key 'contents'; did you mean content?"),
        (
            {"role": "user", "content": [{"type": "video_url"}]},
            "part 1 of message 1 has type 'video_url'; expected a dict",
        ),
        ({"role": "user", "content": [5]}, "part 1 of message 1 is 5; expected a dict"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "has image_url None; expected text as its url"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.b/c"}}]},
            "nothing is fetched",
        ),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "%"}}]}, "is not base64"),
        ({"role": "user", "content": "a", "tool_calls": [CALLED]}, r"message 1 \(user\) has tool_calls"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}, "has the tool call"),
        ({"role": "assistant", "tool_calls": [5]}, "message 1 has the tool call 5; expected"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[" * 99_999}}]},
            "has the tool call",
        ),
    ],
)
def test_case_c_messages_that_are_not_in_openai_form_say_where(nano: Model, message: Any, error: str) -> None:
    """A key that is not known could hold what the user meant."""
    with pytest.raises(InputError, match=error) as caught:
        nano.chat([message])
    assert "x" * (LETTERS + 1) not in str(caught.value)


@pytest.mark.parametrize(
    ("part", "read"),
    [
        ({"type": "input_text", "text": "a", "cache_control": {"type": "ephemeral"}}, "a"),
        ({"type": "input_image", "image_url": "a.png", "detail": "low"}, phi4mm.Image("a.png")),
        ({"type": "input_audio", "input_audio": {"data": "data:;base64,AAAA"}}, phi4mm.Audio("data:;base64,AAAA")),
    ],
)
def test_case_c_parts_in_other_forms_are_read(part: dict[str, Any], read: object) -> None:
    """The names of OpenAI's newer interface, and keys that change nothing here."""
    message = {"role": "user", "content": [part], "refusal": None}
    assert as_message(message, 1) == Message("user", (read,))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": "a", "image_url": "a.png"},
        {"type": "image_url", "image_url": {"url": "a.png", "data": "a"}},
    ],
)
def test_case_c_a_key_of_a_part_that_is_not_read_is_refused(part: dict[str, Any]) -> None:
    """An image beside a text was left out without a word."""
    with pytest.raises(InputError, match="part 1 of message 1 has the unknown key"):
        as_message({"role": "user", "content": [part]}, 1)
