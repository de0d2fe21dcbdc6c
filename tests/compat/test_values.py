"""Values of the wrong type are refused by the name of their keyword, briefly, and without secrets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch

from phi4mm.compat import (
    AutoModelForCausalLM,
    AutoProcessor,
    AutoTokenizer,
    GenerationConfig,
    StoppingCriteriaList,
    TextIteratorStreamer,
    TextStreamer,
)
from phi4mm.errors import ConfigError, InputError

TEXT = "<|user|>hello<|end|><|assistant|>"
PAIR = np.array([1, 2])
LONG = "x" * 10**6
Call: TypeAlias = "Callable[[Any, Any, Path], Any]"  # of model, processor and the folder of the model

CALLS: dict[str, Call] = {
    "stop_strings": lambda m, p, f: GenerationConfig(stop_strings=5),
    "pad_token_id": lambda m, p, f: m.generate(**p(TEXT), pad_token_id=2**70),
    "eos_token_id": lambda m, p, f: GenerationConfig(eos_token_id=[None]),
    "do_sample": lambda m, p, f: GenerationConfig(do_sample=PAIR),
    "padding": lambda m, p, f: p(TEXT, padding=PAIR),
    "padding_side": lambda m, p, f: AutoTokenizer.from_pretrained(f, padding_side="up"),  # type: ignore[arg-type]
    "return_tensors": lambda m, p, f: p(TEXT, return_tensors=LONG),
    "tokenize": lambda m, p, f: p.apply_chat_template([{"role": "user", "content": "x"}], tokenize=PAIR),
    "stopping_criteria": lambda m, p, f: m.generate(**p(TEXT), stopping_criteria=[5]),
    "a stopping criterion": lambda m, p, f: StoppingCriteriaList([lambda ids, scores: "x"])(p(TEXT).input_ids, None),
    "streamer": lambda m, p, f: m.generate(**p(TEXT), streamer=5),
    "tokenizer": lambda m, p, f: TextStreamer(5),  # type: ignore[arg-type]
    "timeout": lambda m, p, f: TextIteratorStreamer(p, timeout="x"),  # type: ignore[arg-type]
    "seed": lambda m, p, f: m.generate(**p(TEXT), seed="x"),
    "num_logits_to_keep": lambda m, p, f: m(**p(TEXT), num_logits_to_keep=torch.tensor([1, 2])),
    "token_ids": lambda m, p, f: p.decode([[1], [1, 2]]),
    "sequences": lambda m, p, f: p.batch_decode(None),
    "a token": lambda m, p, f: p.tokenizer.convert_tokens_to_ids(None),
    "peft_model_id": lambda m, p, f: m.load_adapter(LONG),
    "adapter_kwargs": lambda m, p, f: m.load_adapter(f, adapter_kwargs={1: 2}),
    "subfolder": lambda m, p, f: m.load_adapter(f, adapter_kwargs={"subfolder": 5}),
    "adapter_name": lambda m, p, f: m.set_adapter(PAIR),
    "adapter": lambda m, p, f: m.set_adapter(LONG),
    "save_directory": lambda m, p, f: m.save_pretrained("a\0"),
    "config_file_name": lambda m, p, f: GenerationConfig.from_pretrained(f, 5),  # type: ignore[arg-type]
    "revision": lambda m, p, f: GenerationConfig.from_pretrained(f, revision=5),  # type: ignore[arg-type]
    "dynamic_hd": lambda m, p, f: AutoProcessor.from_pretrained(f, dynamic_hd=PAIR),  # type: ignore[arg-type]
    "dtype": lambda m, p, f: p(TEXT).to(dtype="x"),
    "dtype and torch_dtype": lambda m, p, f: AutoModelForCausalLM.from_pretrained(f, dtype=LONG, torch_dtype="x"),
    "the model is in": lambda m, p, f: m.to(dtype=LONG),
    "device": lambda m, p, f: m.to("cpu:" + "9" * 10**6),
    "inputs and input_ids": lambda m, p, f: m.generate(p(TEXT).input_ids, **p(TEXT)),
}


@pytest.mark.parametrize("name", CALLS)
def test_case_c_a_value_of_the_wrong_type_is_refused_by_name(
    name: str, model: AutoModelForCausalLM, processor: AutoProcessor, small_folder: Path
) -> None:
    """Errors of torch or NumPy do not say which keyword was wrong; those that quote a whole value fill the screen."""
    with pytest.raises((ConfigError, InputError), match=rf"^{name}\b") as found:
        CALLS[name](model, processor, small_folder)
    assert len(str(found.value)) < 300


@pytest.mark.parametrize("form", ["meta", "sparse", "conjugated"])
def test_case_c_tensors_without_plain_numbers_are_refused(
    form: str, model: AutoModelForCausalLM, processor: AutoProcessor
) -> None:
    """torch cannot make an array of them, and says so without the name of the tensor."""
    ids = processor(TEXT).input_ids
    given = {"meta": ids.to("meta"), "sparse": ids.to_sparse(), "conjugated": ids.to(torch.complex64).conj()}[form]
    with pytest.raises(InputError, match=r"input_ids is a tensor of .*; expected a dense one"):
        model.generate(input_ids=given)
    with pytest.raises(InputError, match=r"token_ids is a tensor of .*; expected a dense one"):
        processor.decode(given)


def test_case_c_numbers_of_numpy_and_empty_lists_are_taken(
    model: AutoModelForCausalLM, processor: AutoProcessor
) -> None:
    """Scripts compute lengths with NumPy, write one criterion without a list, and pass lists that are empty."""
    inputs = processor(TEXT)
    expected = model.generate(**inputs, max_new_tokens=3, eos_token_id=[], seed=4, do_sample=True)
    options: dict[str, Any] = {"max_new_tokens": np.int64(3), "seed": np.int64(4), "do_sample": np.bool_(True)}
    given = model.generate(**inputs, **options, eos_token_id=[], logits_processor=[], bad_words_ids=[])
    assert torch.equal(given, expected)
    stopped = model.generate(**inputs, max_new_tokens=3, eos_token_id=[], stopping_criteria=lambda ids, scores: True)
    assert stopped.shape[1] == inputs.input_ids.shape[1] + 1


@pytest.mark.parametrize("name", ["token", "use_auth_token", "api_key", "password"])
def test_case_c_a_secret_is_not_quoted(name: str, small_folder: Path) -> None:
    """Errors end in logs."""
    keyword: dict[str, Any] = {name: "hf_secret"}
    for kind in (AutoModelForCausalLM, AutoProcessor, AutoTokenizer):
        with pytest.raises(ConfigError, match=name) as found:
            kind.from_pretrained(small_folder, **keyword)
        assert "hf_secret" not in str(found.value)
