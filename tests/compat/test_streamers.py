"""Streamers and stopping criteria see each token as it is chosen, as in transformers, and the answers stay the same."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pytest
import torch
from torch import Tensor

from phi4mm.compat import (
    AutoModelForCausalLM,
    AutoProcessor,
    StoppingCriteria,
    StoppingCriteriaList,
    TextIteratorStreamer,
    TextStreamer,
)
from phi4mm.errors import ConfigError, InputError

TEXT = "<|user|>hello<|end|><|assistant|>"
OTHER = "<|user|>red world<|end|><|assistant|>"


class Recorder:
    """A streamer that keeps what it gets."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []
        self.ended = 0

    def put(self, value: Tensor) -> None:
        self.values.append(value)

    def end(self) -> None:
        self.ended += 1


class After(StoppingCriteria):
    """Ends answer n after `counts[n]` tokens."""

    def __init__(self, prompt: int, *counts: int) -> None:
        self.prompt, self.counts, self.seen = prompt, counts, list[list[list[int]]]()

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        assert scores is None
        self.seen.append(input_ids.tolist())
        return torch.tensor([input_ids.shape[1] - self.prompt >= count for count in self.counts])


def test_case_c_streamer_gets_the_prompt_and_then_each_token(
    model: AutoModelForCausalLM, processor: AutoProcessor
) -> None:
    """Any object with put and end is a streamer, those of transformers among them."""
    inputs = processor(text=[TEXT, OTHER])
    recorder = Recorder()
    ids = model.generate(**inputs, max_new_tokens=6, streamer=recorder)
    assert torch.equal(ids, model.generate(**inputs, max_new_tokens=6))
    assert torch.equal(recorder.values[0], inputs.input_ids)
    assert torch.equal(torch.stack(recorder.values[1:], dim=1), ids[:, inputs.input_ids.shape[1] :])
    assert recorder.ended == 1


def test_case_c_text_streamer_prints_what_decode_gives(
    model: AutoModelForCausalLM, processor: AutoProcessor, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prompt and special tokens are printed unless they are left out; transformers' own streamer prints the same."""
    inputs = processor(text=TEXT)
    ids = model.generate(**inputs, max_new_tokens=20)
    streamers = pytest.importorskip("transformers")
    for skip_prompt, special in ((False, False), (True, True)):
        answer = ids[0, inputs.input_ids.shape[1] * skip_prompt :]
        expected = processor.decode(answer, skip_special_tokens=special) + "\n"
        own = TextStreamer(processor, skip_prompt, skip_special_tokens=special)
        theirs = streamers.TextStreamer(processor.tokenizer, skip_prompt, skip_special_tokens=special)
        for streamer in (own, own, theirs):  # a streamer may be used again
            model.generate(**inputs, max_new_tokens=20, streamer=streamer)
            assert capsys.readouterr().out == expected
    with pytest.raises(InputError, match="a text streamer got 2 prompts; expected one"):
        model.generate(**processor(text=[TEXT, TEXT]), streamer=TextStreamer(processor))
    with pytest.raises(ConfigError, match="decode: unknown keyword skip_special_token; did you mean"):
        TextStreamer(processor, skip_special_token=True)


def test_case_c_text_iterator_streamer_is_read_while_generate_runs(
    model: AutoModelForCausalLM, processor: AutoProcessor
) -> None:
    """The usual script of a chat page: generate in a thread, iterate in this one."""
    inputs = processor(text=TEXT)
    ids = model.generate(**inputs, max_new_tokens=20)[0, inputs.input_ids.shape[1] :]
    streamer = TextIteratorStreamer(processor.tokenizer, skip_prompt=True, timeout=60, skip_special_tokens=True)
    keywords = {**inputs, "streamer": streamer, "max_new_tokens": 20}
    thread = threading.Thread(target=model.generate, kwargs=keywords)
    thread.start()
    pieces = list(streamer)
    thread.join()
    assert "".join(pieces) == processor.decode(ids, skip_special_tokens=True)
    assert len(pieces) > 1
    assert all(pieces)


def test_an_error_of_generate_ends_the_iteration(model: AutoModelForCausalLM, processor: AutoProcessor) -> None:
    """In transformers the reader waits for ever."""
    streamer = TextIteratorStreamer(processor)
    with pytest.raises(InputError, match="top_k is -1"):
        model.generate(**processor(text=TEXT), streamer=streamer, top_k=-1)
    with pytest.raises(InputError, match="top_k is -1"):
        next(streamer)
    with pytest.raises(queue.Empty):
        next(TextIteratorStreamer(processor, timeout=0.01))


def test_case_c_stopping_criteria_end_each_answer(
    model: AutoModelForCausalLM, processor: AutoProcessor, small: Any
) -> None:
    """After each token of the batch, with the ids so far; ended answers are padded, and nothing runs on."""
    inputs = processor(text=[TEXT, OTHER])
    prompt, pad = inputs.input_ids.shape[1], processor.tokenizer.pad_token_id
    free = model.generate(**inputs, max_new_tokens=8)[:, prompt:]
    criterion = After(prompt, 2, 5)
    ids = model.generate(**inputs, max_new_tokens=8, stopping_criteria=StoppingCriteriaList([criterion]))
    assert ids[:, prompt:].tolist() == [[*free[0, :2].tolist(), pad, pad, pad], free[1, :5].tolist()]
    assert criterion.seen == [ids[:, : prompt + n].tolist() for n in range(1, 6)]
    assert model.generate(**inputs, stopping_criteria=[lambda ids, scores: True]).shape[1] == prompt + 1
    with pytest.raises(InputError, match=r"a stopping criterion returned shape \(3,\); expected one bool, or 2"):
        model.generate(**inputs, stopping_criteria=[lambda ids, scores: torch.zeros(3)])
    model.to("cpu")  # refused while anything runs


def test_case_c_eos_token_id_decides_what_ends_an_answer(model: AutoModelForCausalLM, processor: AutoProcessor) -> None:
    """Scripts pass the tokenizer's end token alone and stop at <|end|> by a criterion; then <|end|> ends nothing."""
    inputs = processor(text=TEXT)
    prompt = inputs.input_ids.shape[1]
    free = model.generate(**inputs, max_new_tokens=12, eos_token_id=[])[0, prompt:].tolist()
    assert len(free) == 12
    for ids in (free[4], [free[4], free[7]]):
        ended = model.generate(**inputs, max_new_tokens=12, eos_token_id=ids)[0, prompt:].tolist()
        assert ended == free[: free.index(free[4]) + 1]
    with pytest.raises(ConfigError, match=r"eos_token_id is '<\|end\|>'; expected at most 100 token ids"):
        model.generate(**inputs, eos_token_id="<|end|>")


def test_case_c_max_length_counts_the_prompt(model: AutoModelForCausalLM, processor: AutoProcessor) -> None:
    """As in transformers, padding included; max_new_tokens takes precedence."""
    inputs = processor(text=[TEXT, "<|user|>hello world red<|end|><|assistant|>"])
    prompt = inputs.input_ids.shape[1]
    expected = model.generate(**inputs, max_new_tokens=4, eos_token_id=[])
    assert torch.equal(model.generate(**inputs, max_length=prompt + 4, eos_token_id=[]), expected)
    assert torch.equal(model.generate(**inputs, max_length=5, max_new_tokens=4, eos_token_id=[]), expected)
    with pytest.raises(InputError, match=f"the prompt has {prompt} tokens and max_length is {prompt}, which counts"):
        model.generate(**inputs, max_length=prompt)
