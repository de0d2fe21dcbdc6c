"""Scripts that ask for CUDA on a machine without it: refused with what to do, or run on the CPU when asked to."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from phi4mm.compat import AutoModelForCausalLM, AutoProcessor
from phi4mm.compat.device import _warn_once
from phi4mm.errors import ConfigError

TEXT = "<|user|>hello<|end|><|assistant|>"


def test_case_c_cuda_scripts_run_on_the_cpu_when_asked_to(
    small_folder: Path, processor: AutoProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every way in which the model card and other scripts name CUDA, and one warning for all of them."""
    monkeypatch.setenv("PHI4MM_DEVICE", "cpu")
    _warn_once.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = AutoModelForCausalLM.from_pretrained(small_folder, device_map="cuda").cuda()
        model.to("cuda:0").to(torch.device("cuda")).cuda(0)
        AutoModelForCausalLM.from_pretrained(small_folder, device_map={"": 0})
        inputs = processor(text=TEXT).to("cuda:0").to("cuda", torch.bfloat16)
    assert [str(w.message) for w in caught] == ["PHI4MM_DEVICE=cpu: this script asks for CUDA and runs on the CPU"]
    assert {model.device.type, inputs.input_ids.device.type} == {"cpu"}
    model.generate(**inputs, max_new_tokens=1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without CUDA")
def test_without_the_variable_the_error_says_what_to_do(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Falling back unasked would look like a hang with the published weights."""
    monkeypatch.delenv("PHI4MM_DEVICE", raising=False)
    with pytest.raises(
        ConfigError, match="torch finds no CUDA device; use device 'cpu' or 'auto', or set PHI4MM_DEVICE"
    ):
        AutoModelForCausalLM.from_pretrained(small_folder, device_map="cuda")
    monkeypatch.setenv("PHI4MM_DEVICE", "tpu")
    with pytest.raises(ConfigError, match="PHI4MM_DEVICE is 'tpu'; expected cpu, or leave it unset"):
        AutoModelForCausalLM.from_pretrained(small_folder, device_map="cpu")
