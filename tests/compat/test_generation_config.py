from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

import phi4mm
from phi4mm.compat import AutoModelForCausalLM, AutoProcessor, GenerationConfig
from phi4mm.errors import ConfigError
from phi4mm.processing.tokenizer import Special


def test_the_generation_config_is_read_from_its_file(small_folder: Path, processor: AutoProcessor) -> None:
    """Both end ids are needed for answers to stop where those of the published model do."""
    tokenizer = processor._processor.tokenizer
    config = GenerationConfig.from_pretrained(small_folder, "generation_config.json")
    assert config.eos_ids == (tokenizer.id(Special.END), tokenizer.id(Special.ENDOFTEXT))
    assert config.pad_token_id == tokenizer.id(Special.ENDOFTEXT)
    assert config.sampling(None, prompt_tokens=0).max_tokens == 1000


@pytest.mark.parametrize(
    ("stated", "error"),
    [
        (
            {"temprature": 0.5},
            r"generation_config.json: generate: unknown keyword temprature; did you mean temperature\?",
        ),
        ({"top_p": 2}, "generation_config.json: top_p is 2; expected a number"),
        ({"num_beams": 4}, "num_beams=4 is not supported; answers are decoded with 1 beam, so leave it out"),
        ({"do_sample": "yes"}, "do_sample is 'yes'; expected True or False"),
        ({"max_new_tokens": True}, "max_new_tokens is True; expected a whole number from 1"),
        ({"eos_token_id": True}, "eos_token_id is True; expected at most 100 token ids"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0; expected a whole number from 1"),
        ({"eos_token_id": ["<|end|>"]}, r"eos_token_id is \['<\|end\|>'\]; expected at most 100 token"),
        ({"eos_token_id": [True]}, r"eos_token_id is \[True\]; expected at most 100 token ids"),
        ({"eos_token_id": list(range(101))}, r"eos_token_id is \[0, 1, .*; expected at most 100 token ids"),
        ({"pad_token_id": 10**30}, "pad_token_id is 10+; expected token ids"),
    ],
)
def test_an_impossible_generation_config_is_refused(tmp_path: Path, stated: dict[str, object], error: str) -> None:
    """If such a value were ignored, all answers would change silently."""
    (tmp_path / "generation_config.json").write_text(json.dumps(stated))
    with pytest.raises(ConfigError, match=error):
        GenerationConfig.from_pretrained(tmp_path)


def test_the_generation_config_must_be_in_the_folder_of_the_model(small_folder: Path) -> None:
    """A name with a path in it could read any JSON file of the machine."""
    with pytest.raises(ConfigError, match=r"config_file_name is '\.\./other\.json'; expected a file name"):
        GenerationConfig.from_pretrained(small_folder, "../other.json")
    with pytest.raises(ConfigError, match=r"other\.json not found"):
        GenerationConfig.from_pretrained(small_folder, "other.json")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was opened, by name."""
    count: Counter[str] = Counter()
    open_path = Path.open

    def counting(self: Path, *args: Any, **options: Any) -> Any:
        count[self.name] += 1
        return open_path(self, *args, **options)

    monkeypatch.setattr(Path, "open", counting)
    return count


def test_loading_reads_no_file_twice(small_folder: Path, opened: Counter[str]) -> None:
    """Compared with phi4mm.load, only generation_config.json is read in addition, not config.json again."""
    phi4mm.load(small_folder, device="cpu")
    loaded = opened.copy()
    opened.clear()
    AutoModelForCausalLM.from_pretrained(small_folder)
    assert opened - loaded == {"generation_config.json": 1}


def test_without_its_file_the_end_tokens_are_those_of_the_configuration(small_folder: Path, tmp_path: Path) -> None:
    """Published folders all have the file. A converted one may not have it, and its answers must still end."""
    for path in small_folder.iterdir():
        if path.name != "generation_config.json":
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors").hardlink_to(small_folder / "model.safetensors")
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert model.generation_config.eos_ids == model.config.eos_token_ids


def test_case_c_a_generation_config_may_be_changed_in_place(
    model: AutoModelForCausalLM, processor: AutoProcessor
) -> None:
    """`generation_config.max_new_tokens = 256` is how most scripts set it; a misspelling is refused there."""
    inputs = processor(text="<|user|>hello<|end|><|assistant|>")
    config = GenerationConfig(max_new_tokens=2, use_cache=True, num_beams=1, early_stopping=False)
    config.max_new_tokens, config.temperature, config.eos_token_id = 3, None, []
    ids = model.generate(**inputs, generation_config=config)
    assert ids.shape[1] == inputs.input_ids.shape[1] + 3
    assert torch.equal(model.generate(**inputs, max_new_tokens=3, eos_token_id=[], top_k=None, top_p=None), ids)
    with pytest.raises(ConfigError, match=r"unknown keyword max_new_token; did you mean max_new_tokens\?"):
        config.max_new_token = 4
    with pytest.raises(ConfigError, match="num_beams=3 is not supported"):
        config.num_beams = 3
    with pytest.raises(ConfigError, match="max_new_tokens is 0; expected a whole number from 1"):
        config.max_new_tokens = 0


def test_none_turns_a_sampling_option_off() -> None:
    """As in transformers; the default of top_k is 50, so leaving it out is not the same."""
    options = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    params = GenerationConfig(do_sample=True, **dict.fromkeys(options)).sampling(None, prompt_tokens=3)
    assert (params.temperature, params.top_k, params.top_p, params.min_p, params.repetition_penalty) == (1, 0, 1, 0, 1)
    assert GenerationConfig(do_sample=True).sampling(None, prompt_tokens=3).top_k == 50
