from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import phi4mm
from phi4mm.compat import AutoModelForCausalLM, AutoProcessor, GenerationConfig
from phi4mm.errors import ConfigError
from phi4mm.processing.tokenizer import Special


def test_the_generation_config_is_read_from_its_file(small_folder: Path, processor: AutoProcessor) -> None:
    """Only both end ids together stop an answer where the published model does."""
    tokenizer = processor._processor.tokenizer
    config = GenerationConfig.from_pretrained(small_folder, "generation_config.json")
    assert config.eos_ids == (tokenizer.id(Special.END), tokenizer.id(Special.ENDOFTEXT))
    assert config.pad_token_id == tokenizer.id(Special.ENDOFTEXT)
    assert config.max_new_tokens == 1000


@pytest.mark.parametrize(
    ("stated", "error"),
    [
        ({"temprature": 0.5}, r"generation_config.json: unknown keyword temprature; did you mean temperature\?"),
        ({"top_p": 2}, "generation_config.json: top_p is 2; expected a number"),
        ({"num_beams": 4}, "num_beams is 4; answers are decoded with 1 beam, so leave it out"),
        ({"do_sample": "yes"}, "do_sample is 'yes'; expected True or False"),
        ({"max_new_tokens": True}, "max_new_tokens is True; expected a whole number from 1"),
        ({"eos_token_id": True}, "eos_token_id is True .* expected token ids"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0; expected a whole number from 1"),
        ({"eos_token_id": ["<|end|>"]}, r"eos_token_id is \['<\|end\|>'\] .* expected token ids"),
    ],
)
def test_an_impossible_generation_config_is_refused(tmp_path: Path, stated: dict[str, object], error: str) -> None:
    """A value that is ignored changes every answer and says nothing."""
    (tmp_path / "generation_config.json").write_text(json.dumps(stated))
    with pytest.raises(ConfigError, match=error):
        GenerationConfig.from_pretrained(tmp_path)


def test_a_generation_config_lies_in_the_models_folder(small_folder: Path) -> None:
    """A name with a path in it would read any JSON file of the machine."""
    with pytest.raises(ConfigError, match=r"config_file_name is '\.\./other\.json'; expected a file's name"):
        GenerationConfig.from_pretrained(small_folder, "../other.json")
    with pytest.raises(ConfigError, match=r"other\.json not found"):
        GenerationConfig.from_pretrained(small_folder, "other.json")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was opened, by name."""
    count: Counter[str] = Counter()
    open_path = Path.open

    def noting(self: Path, *args: Any, **options: Any) -> Any:
        count[self.name] += 1
        return open_path(self, *args, **options)

    monkeypatch.setattr(Path, "open", noting)
    return count


def test_loading_reads_nothing_again_but_the_generation_config(small_folder: Path, opened: Counter[str]) -> None:
    """What the loaded model knows, such as its configuration, must not be read and checked a second time."""
    phi4mm.load(small_folder, device="cpu")
    loaded = opened.copy()
    opened.clear()
    AutoModelForCausalLM.from_pretrained(small_folder)
    assert opened - loaded == {"generation_config.json": 1}


def test_without_its_file_the_end_tokens_are_those_of_the_configuration(small_folder: Path, tmp_path: Path) -> None:
    """Published folders all have the file; a converted one may not, and its answers must end all the same."""
    for path in small_folder.iterdir():
        if path.name != "generation_config.json":
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors").hardlink_to(small_folder / "model.safetensors")
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert model.generation_config.eos_ids == model.config.eos_token_ids
