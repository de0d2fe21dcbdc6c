"""model(**inputs) gives the engine's own logits, and save_pretrained a checkpoint that gives the same answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from phi4mm.compat import AutoModelForCausalLM, AutoProcessor, AutoTokenizer
from phi4mm.compat.forward import forward
from phi4mm.errors import CheckpointError, ConfigError, InputError
from phi4mm.inference.model import Model
from phi4mm.protocol.messages import Audio, Image
from tests.compat.conftest import make_clip, make_image

TEXT = "<|user|>hello<|end|><|assistant|>"
BOTH = "<|user|><|image_1|><|audio_1|><|end|><|assistant|>"


def test_case_c_model_call_gives_the_engines_logits(
    model: AutoModelForCausalLM, processor: AutoProcessor, small: Model
) -> None:
    """For each prompt of a batch those that it has alone, zeros where it is padded."""
    image, clip = make_image(50, 50, 1), make_clip(0.4, 3)
    inputs = processor(text=[TEXT, BOTH], images=image, audios=clip)
    output = model(**inputs)
    prompts = [small.processor.prompt(TEXT), small.processor.prompt(BOTH, [Image(image)], [Audio(*clip)])]
    assert output.logits.shape == (*inputs.input_ids.shape, small.config.text.vocab_size)
    for row, prompt in zip(output.logits, prompts, strict=True):
        assert torch.equal(row[-len(prompt.ids) :], small.prompt_logits(prompt))
        assert not row[: -len(prompt.ids)].any()
    first = model.generate(**inputs, max_new_tokens=1)[:, -1]
    assert torch.equal(output.logits[:, -1].argmax(-1), first)
    assert output[0] is output["logits"] is output.logits
    for last in (model(**inputs, num_logits_to_keep=1), model(**inputs, logits_to_keep=1)):
        assert torch.allclose(last.logits, output.logits[:, -1:], atol=1e-5)
    assert model(**inputs, num_logits_to_keep=0, use_cache=True).logits.shape == output.logits.shape


def test_an_impossible_call_is_refused(
    model: AutoModelForCausalLM, processor: AutoProcessor, small: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels that are ignored look like a model that does not learn; all logits of a long batch fill the memory."""
    inputs = processor(text=TEXT)
    with pytest.raises(ConfigError, match=r"model\(\): labels=tensor.* is not supported; compute the loss"):
        model(**inputs, labels=inputs.input_ids)
    with pytest.raises(ConfigError, match="num_logits_to_keep is -1; expected a whole number from 0"):
        model(**inputs, num_logits_to_keep=-1)
    with pytest.raises(InputError, match="the output has no 'past_key_values'; expected 'logits'"):
        model(**inputs)["past_key_values"]
    length = 2**30 // small.config.text.vocab_size + 1
    with pytest.raises(InputError, match=rf"the logits of 1 x {length} tokens take more than 4 GiB"):
        forward(small, [small.processor.prompt(TEXT)], length=length, keep=None, adapter=None)
    monkeypatch.setattr("phi4mm.compat.forward.MAX_LOGITS", 1000)
    with pytest.raises(InputError, match=r"the logits of 1 x 5 tokens take more than .* or num_logits_to_keep=1"):
        model(**inputs)
    assert model(**inputs, num_logits_to_keep=1).logits.shape[1] == 1


def test_case_c_save_pretrained_writes_a_checkpoint_that_answers_alike(
    model: AutoModelForCausalLM, processor: AutoProcessor, tmp_path: Path
) -> None:
    """Model and processor are saved into one folder, in the model's dtype, with the tokenizer."""
    folder = tmp_path / "saved"
    model.save_pretrained(folder, safe_serialization=True, max_shard_size="5GB")
    processor.save_pretrained(folder)
    processor.tokenizer.save_pretrained(str(tmp_path / "tokenizer"))
    saved, again = AutoModelForCausalLM.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    inputs = again(text=TEXT)
    assert torch.equal(saved.generate(**inputs, max_new_tokens=9), model.generate(**inputs, max_new_tokens=9))
    assert len(AutoTokenizer.from_pretrained(tmp_path / "tokenizer")) == len(processor.tokenizer)
    again.save_pretrained(folder)  # onto itself
    with pytest.raises(ConfigError, match="saved is there already and not empty; name a new folder"):
        model.save_pretrained(folder)
    with pytest.raises(ConfigError, match="save_pretrained: safe_serialization=False is not supported"):
        model.save_pretrained(tmp_path / "other", safe_serialization=False)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json could not be written"):
        processor.save_pretrained(folder / "tokenizer.json")
