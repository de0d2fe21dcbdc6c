"""What `phi4mm.compat` needs below `chat`: tokens as they arrive, other end tokens, and the logits of a prompt."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import phi4mm
from phi4mm import EngineError, InputError, SamplingParams
from phi4mm.api import Model
from phi4mm.checkpoint.load import load_model
from phi4mm.model.kv import token_bytes
from phi4mm.processing.tokenizer import Special
from phi4mm.protocol.inputs import Prompt
from phi4mm.protocol.messages import Audio, Image
from tests.inference.test_model import make_image, samples
from tests.prompts import full_logits

TEXT = "<|user|>hello world<|end|><|assistant|>"
SHORT = SamplingParams(max_tokens=12)


def mixed(small: Model) -> Prompt:
    text = "<|user|><|image_1|><|audio_1|>what" + " world" * 80 + "<|end|><|assistant|>"
    return small.processor.prompt(text, [Image(make_image())], [Audio(samples(), 16000)])


def test_token_ids_of_a_stream_are_those_of_the_reply(small: Model) -> None:
    """Streamers and stopping criteria see them; with the token that ends the answer, and nothing after a close."""
    prompt = small.processor.prompt(TEXT)
    expected = small.submit(prompt, SHORT).finish().ids
    stream = small.submit(prompt, SHORT)
    assert tuple(stream.token_ids()) == expected == stream.reply.ids
    closed = small.submit(prompt, SHORT)
    ids = closed.token_ids()
    first = next(ids)
    closed.close()
    assert (first, list(ids)) == (expected[0], [])


def test_token_ids_raise_the_error_of_the_request(small_folder: Path) -> None:
    """An answer that failed must not look like a short one."""
    model = phi4mm.load(small_folder, device="cpu", engine="inline")
    ids = model.submit(model.processor.prompt(TEXT), SHORT).token_ids()
    next(ids)
    model.close()
    with pytest.raises(EngineError, match="the engine was closed"):
        list(ids)


def test_a_request_may_have_its_own_end_tokens(small: Model) -> None:
    """transformers' eos_token_id: the first of them ends the answer, and the checkpoint's own do not."""
    prompt = small.processor.prompt(TEXT)
    free = small.submit(prompt, SHORT, eos_ids=()).finish()
    assert (len(free.ids), free.finish_reason) == (12, "length")
    end = free.ids[5]
    reply = small.submit(prompt, SHORT, eos_ids=(end,)).finish()
    assert reply.ids == free.ids[: free.ids.index(end) + 1]
    assert reply.finish_reason == "stop"
    assert small.processor.tokenizer.decode(reply.ids[:-1]) == reply.text


@pytest.mark.parametrize("adapter", ["auto", "speech", None])
def test_prompt_logits_equal_one_pass_of_the_model(small: Model, small_folder: Path, adapter: str | None) -> None:
    """They must be those that the engine samples from: same adapter, rotary table and media."""
    prompt = mixed(small)
    assert len(prompt.ids) > small.config.text.rope.original_max_positions
    logits = small.prompt_logits(prompt, adapter=adapter)
    if adapter == "auto":
        model = load_model(small_folder, device="cpu", dtype=torch.float32)
        expected = full_logits(model, prompt)
        assert logits.shape == expected.shape
        assert (logits - expected).abs().max() < 1e-4 * expected.abs().max()
    last = small.prompt_logits(prompt, num_tokens=3, adapter=adapter)
    assert torch.allclose(last, logits[-3:], atol=1e-5)  # the head multiplies fewer rows, in another order
    reply = small.submit(prompt, SamplingParams(max_tokens=1, logprobs=1), adapter=adapter).finish()
    assert reply.ids[0] == logits[-1].argmax()
    assert reply.logprobs[0].logprob == pytest.approx(logits[-1].log_softmax(-1).max().item(), abs=1e-4)


def test_prompt_logits_of_impossible_prompts_are_refused(small: Model) -> None:
    """As answers to them are."""
    with pytest.raises(InputError, match="the model has no french adapter"):
        small.prompt_logits(small.processor.prompt(TEXT), adapter="french")
    end = small.processor.tokenizer.id(Special.END)
    with pytest.raises(InputError, match="the prompt has 192 tokens and the context holds 192"):
        small.prompt_logits(Prompt((end,) * 192))


def test_case_b13_logits_and_keys_beyond_half_of_the_free_memory_are_refused(
    small: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At published sizes a prompt of 131,072 tokens has 17 GB of keys and values and 52 GB of logits."""
    prompt = small.processor.prompt(TEXT)
    text, count = small.config.text, len(prompt.ids)
    keys = count * token_bytes(text, torch.float32)
    monkeypatch.setattr("phi4mm.engine.prompt_logits.free_bytes", lambda device: 2 * (keys + 4 * text.vocab_size))
    assert len(small.prompt_logits(prompt, num_tokens=1)) == 1
    with pytest.raises(InputError, match=rf"{count} tokens take {4 * count * text.vocab_size} bytes and .* {keys};"):
        small.prompt_logits(prompt)
