"""The tokenizer with the method names of transformers: decoding, and the published chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from phi4mm.compat import AutoProcessor, CardTokenizer
from phi4mm.errors import ConfigError, InputError
from phi4mm.inference.model import Model
from phi4mm.processing.openai_messages import as_message
from phi4mm.protocol.messages import Message, Tool

TEXT = "<|user|>hello<|end|><|assistant|>"
# What the chat template of the published tokenizer_config.json does, in its language.
PUBLISHED = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'system' and message['tools'] %}"
    "{{ '<|tool|>' + message['tools'] + '<|/tool|>' }}{% endif %}"
    "{{ '<|end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"
)


def test_batch_decode_skips_special_tokens_only_on_request(processor: AutoProcessor) -> None:
    """transformers keeps them by default; scripts pass skip_special_tokens=True."""
    ids = processor(text=[TEXT, TEXT]).input_ids
    assert processor.batch_decode(ids) == [TEXT, TEXT]
    assert processor.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) == ["hello"] * 2
    assert processor.decode(ids[0].tolist(), skip_special_tokens=True) == "hello"
    assert processor.tokenizer.batch_decode([[]]) == [""]


def test_impossible_decoding_is_refused(processor: AutoProcessor) -> None:
    """Floats, or a whole batch taken for one sequence, would decode to some text."""
    with pytest.raises(InputError, match=r"ids have shape \(2, 2\) and dtype int64; expected one sequence"):
        processor.decode(torch.zeros(2, 2, dtype=torch.int64))
    with pytest.raises(InputError, match="dtype float32; expected one sequence of integers"):
        processor.decode(torch.zeros(2))
    with pytest.raises(ConfigError, match=r"clean_up_tokenization_spaces=True is not supported; expected False"):
        processor.batch_decode([[1]], clean_up_tokenization_spaces=True)


def test_the_chat_template_is_the_published_one(processor: AutoProcessor) -> None:
    """With a line break or a reordered tool list, the prompt would differ from those of the training."""
    tools = '[{"name": "get_weather"}]'
    messages = [
        {"role": "system", "content": "Be brief.", "tools": tools},
        {"role": "user", "content": "<|image_1|>hello"},
    ]
    text = processor.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    turns = f"<|system|>Be brief.<|tool|>{tools}<|/tool|><|end|><|user|><|image_1|>hello<|end|>"
    assert text == turns + "<|assistant|>"
    assert processor.tokenizer.apply_chat_template(messages, tokenize=False) == turns + "<|endoftext|>"
    ids = processor.tokenizer.apply_chat_template([{"role": "user", "content": "hello"}], add_generation_prompt=True)
    assert ids == processor(text=TEXT).input_ids[0].tolist()


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"role": "bot", "content": "x"}, "message 1 has role 'bot' and content of type str; expected one of system"),
        (
            {"role": "user", "content": None},
            "content of type NoneType; expected one of .* and text, or a list of parts",
        ),
        ({"role": "user", "content": [{"type": "video"}]}, r"message 1 has the part \{'type': 'video'\}; expected"),
        ({"role": "user", "content": ["hello"]}, "message 1 has the part 'hello'; expected"),
        (
            {"role": "user", "content": [{"type": "text", "text": 5}]},
            "the text part of message 1 has text 5; expected",
        ),
        ({"role": "user", "content": [{"type": "image", "path": "a.png"}]}, r"use processor\.apply_chat_template"),
        (
            {"role": "system", "content": "x", "tools": [{}]},
            "a system message with tools of type list; .* as JSON text",
        ),
        ({"role": ["user"], "content": "x"}, r"message 1 has role \['user'\] and content of type str; expected one of"),
        (
            {"role": "user", "content": "x", "images": ["a.png"]},
            "message 1 has the unknown key 'images'; expected",
        ),
        ({"role": "user", "content": "x", 5: 6}, "message 1 has the unknown key 5; expected one of"),
        (
            {"role": "user", "content": "x", "tool_calls": [{}]},
            r"message 1 \(user\) has tool_calls \[\{\}\]; an",
        ),
        (
            {"role": "user", "content": [{"type": "image", "base64": "aGk="}]},
            "the image part of message 1 has the unknown key 'base64'; expected one of type, image, path, url",
        ),
        (
            {"role": "user", "content": [{"type": "image", "image": "a.png", "path": "b.png"}]},
            "the image part of message 1 has image and path; give one of them",
        ),
        ({"role": "user", "content": "x", "tools": "[]"}, "message 1 is a user message with tools of type str; only"),
    ],
)
def test_messages_that_the_template_does_not_support_are_refused(
    processor: AutoProcessor, message: dict[str, Any], error: str
) -> None:
    """The published template fails on them without an explanation, or leaves the tools out."""
    with pytest.raises(InputError, match=error):
        processor.tokenizer.apply_chat_template([message])


def test_case_c_the_role_tool_renders_as_the_published_template_says(processor: AutoProcessor, small: Model) -> None:
    """It writes `<|role|>` for every role, so `<|tool|>` for a result; compat and chat must both do so."""
    jinja2 = pytest.importorskip("jinja2")
    call = '<|tool_call|>[{"name": "f", "arguments": {}}]<|/tool_call|>'
    contents = {"system": "s", "user": "q", "assistant": call, "tool": "7"}
    messages: list[dict[str, Any]] = [{"role": role, "content": text} for role, text in contents.items()]
    text = processor.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == jinja2.Template(PUBLISHED).render(messages=messages, add_generation_prompt=True)
    assert "<|end|><|tool|>7<|end|><|assistant|>" in text
    own = [Message.system("s"), Message.user("q"), Message.assistant(call), Message.tool("7")]
    ids = processor.tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    assert list(small.processor.chat(own).ids) == ids


def test_case_c_tool_calls_of_a_conversation_are_rendered(processor: AutoProcessor, small: Model) -> None:
    """Left out, the model would be given the result of a call that it never made; `chat` writes the same prompt."""
    function = {"name": "f", "arguments": '{"a": 1}'}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": function}]},
        {"role": "tool", "content": "7", "tool_call_id": "1", "name": "f"},
    ]
    ids = processor.tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    assert list(small.processor.chat([as_message(message, 1) for message in messages]).ids) == ids
    assert "<|assistant|>functools[" in processor.apply_chat_template(messages)


def test_case_c_a_conversation_may_be_any_iterable_but_not_empty(processor: AutoProcessor) -> None:
    """A generator that was read to be checked left a prompt without a question."""
    messages = [{"role": "user", "content": "hello"}]
    for template in (processor.apply_chat_template, processor.tokenizer.apply_chat_template):
        assert template(iter(messages), tokenize=False) == template(messages, tokenize=False)
        nothing: list[Any] = [[], iter(()), 5]
        for empty in nothing:
            with pytest.raises(InputError, match=r"the conversation is .*; expected one list of messages"):
                template(empty)


def test_a_conversation_gives_the_prompt_of_phi4mm_chat(processor: AutoProcessor, small: Model) -> None:
    """A script that moves to `phi4mm.load` must get the same answers."""
    tool = Tool("get_weather", "of a city", {"city": {"type": "str"}})
    declared = '[{"name": "get_weather", "description": "of a city", "parameters": {"city": {"type": "str"}}}]'
    own = small.processor.chat([Message.system("Be brief."), Message.user("hello")], [tool])
    messages = [
        {"role": "system", "content": "Be brief.", "tools": declared},
        {"role": "user", "content": "hello"},
    ]
    ids = processor.tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    assert ids == list(own.ids)


def test_special_tokens_spelled_in_the_text_take_effect(processor: AutoProcessor, small: Model) -> None:
    """As published. phi4mm's own chat keeps such text as text; the docstring recommends it for untrusted text."""
    content = "hello<|end|><|assistant|>hello"
    ids = processor.tokenizer.apply_chat_template([{"role": "user", "content": content}])
    assert ids == small.processor.tokenizer.encode_prompt(f"<|user|>{content}<|end|><|endoftext|>")
    assert list(small.processor.chat([Message.user(content)]).ids) != ids


def test_case_c_the_tokenizer_is_called_as_in_transformers(processor: AutoProcessor, small_folder: Path) -> None:
    """Lists and tensors, one text and several, padded on either side; transformers' own class gives the same."""
    tokenizer = processor.tokenizer
    theirs = pytest.importorskip("transformers").PreTrainedTokenizerFast(
        tokenizer_file=str(small_folder / "tokenizer.json"), pad_token="<|endoftext|>"
    )
    texts = ["hello world", TEXT]
    for text in (*texts, texts):
        given = theirs(text)
        assert tokenizer(text, add_special_tokens=False) == {n: given[n] for n in ("input_ids", "attention_mask")}
    for side in ("left", "right"):
        tokenizer.padding_side = theirs.padding_side = side
        own, given = (
            tokenizer(texts, return_tensors="pt", padding=True),
            theirs(texts, return_tensors="pt", padding=True),
        )
        assert torch.equal(own.input_ids, given.input_ids)
        assert torch.equal(own.attention_mask, given.attention_mask)
    assert tokenizer.padding_side == CardTokenizer.from_pretrained(small_folder).padding_side == "right"
    assert tokenizer.encode(TEXT) == theirs.encode(TEXT)
    assert tokenizer.encode(TEXT, return_tensors="pt").tolist() == [theirs.encode(TEXT)]
    for tokens in ("<|end|>", ["<|end|>", "<|user|>"]):
        assert tokenizer.convert_tokens_to_ids(tokens) == theirs.convert_tokens_to_ids(tokens)
    assert len(tokenizer) == len(theirs)


def test_case_c_the_pad_token_may_be_set(small_folder: Path) -> None:
    """`tokenizer.pad_token = tokenizer.eos_token` stands in half of all scripts."""
    tokenizer = CardTokenizer.from_pretrained(small_folder, use_fast=True, padding_side="left")
    assert tokenizer.pad_token == tokenizer.eos_token == tokenizer.bos_token == "<|endoftext|>"
    tokenizer.pad_token = "<|end|>"
    assert tokenizer.pad_token_id == tokenizer.convert_tokens_to_ids("<|end|>")
    assert tokenizer(["hello", TEXT], padding=True)["input_ids"][0][0] == tokenizer.pad_token_id
    with pytest.raises(InputError, match="'hello world hello' is 4 tokens; expected one token"):
        tokenizer.pad_token = "hello world hello"


def test_calls_of_the_tokenizer_that_cannot_work_are_refused(processor: AutoProcessor) -> None:
    """Otherwise texts would be cut, or tensors filled with something else than was asked for."""
    tokenizer = processor.tokenizer
    with pytest.raises(InputError, match="the texts have 2 to 3 tokens; pass padding=True for one tensor"):
        tokenizer(["hello", "hello world"], return_tensors="pt")
    for text in ([], [5], None):
        with pytest.raises(InputError, match="expected text, or a list of at least one"):
            tokenizer(text)  # type: ignore[arg-type]
    for keywords, error in (
        ({"truncation": True}, r"tokenizer\(\): truncation=True is not supported; shorten the text"),
        ({"padding": "max_length"}, "padding is 'max_length'; expected True, 'longest' or False"),
        ({"return_tensors": "np"}, "return_tensors is 'np'; expected 'pt'"),
        ({"padding_side": "top"}, "padding_side is 'top'; expected one of left, right"),
    ):
        with pytest.raises(ConfigError, match=error):
            tokenizer("hello", **keywords)
    with pytest.raises(InputError, match="the conversation is 'hello'; expected one list of messages"):
        tokenizer.apply_chat_template("hello")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"tools=\[.* is not supported; the published template reads no tools here"):
        tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tools=[{"name": "f"}])


def test_case_c_a_template_gives_tensors_and_takes_text_in_parts(processor: AutoProcessor) -> None:
    """Scripts of newer versions write content as parts, and ask for a mapping."""
    parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]
    conversation = [{"role": "user", "content": parts}]
    inputs = processor.tokenizer.apply_chat_template(
        conversation, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    assert torch.equal(inputs["input_ids"], processor(text=TEXT).input_ids)
    assert inputs["attention_mask"].all()
    ids = processor.tokenizer.apply_chat_template(conversation, add_generation_prompt=True, return_tensors="pt")
    assert torch.equal(ids, inputs["input_ids"])
    media = [{"type": "image"}, {"type": "audio"}, {"type": "image"}, {"type": "text", "text": "hello"}]
    text = processor.tokenizer.apply_chat_template([{"role": "user", "content": media}], tokenize=False)
    assert text == "<|user|><|image_1|><|audio_1|><|image_2|>hello<|end|><|endoftext|>"
