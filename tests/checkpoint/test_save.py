"""Save models: what is loaded again equals what was saved, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from phi4mm.checkpoint.load import load_model
from phi4mm.checkpoint.save import convert, save_adapters, save_original, save_transformers, whole_folder
from phi4mm.checkpoint.shards import read_header
from phi4mm.config.load import load_config
from phi4mm.errors import CheckpointError, ConfigError
from tests.checkpoint.small import same, state


def test_a_saved_model_loads_equal_in_either_layout(original: Path, tmp_path: Path) -> None:
    """Saving must not change fine-tuned weights."""
    model = load_model(original, device="cpu", dtype=torch.float32)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.mul_(1.5)
    save_original(model, tmp_path / "original")
    save_transformers(model, tmp_path / "transformers")
    for layout in ("original", "transformers"):
        assert same(state(tmp_path / layout), model.state_dict())
        assert load_config(tmp_path / layout).layout == layout


def test_converting_to_the_other_layout_and_back_gives_the_same_files(original: Path, tmp_path: Path) -> None:
    """A conversion must not lose a tensor, a bit or a setting."""
    convert(original, tmp_path / "there", form="transformers")
    convert(tmp_path / "there", tmp_path / "back", form="original")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "back" / name).read_bytes() == (original / name).read_bytes(), name


def test_conversion_writes_the_new_dtype_to_config_json(original: Path, tmp_path: Path) -> None:
    """config.json must name the precision that the weights have."""
    convert(original, tmp_path / "half", form="original", dtype=torch.bfloat16)
    assert load_config(tmp_path / "half").dtype == "bfloat16"
    exact = {name: tensor.bfloat16().float() for name, tensor in state(original).items()}
    assert same(state(tmp_path / "half"), exact)


def test_adapters_alone_are_saved_as_two_folders_that_peft_can_read(
    original: Path, transformers: Path, tmp_path: Path
) -> None:
    """They must not contain the whole model."""
    save_adapters(load_model(original, device="cpu", dtype=torch.float32), tmp_path / "saved")
    convert(original, tmp_path / "converted", form="adapters")
    for folder in (tmp_path / "saved", tmp_path / "converted"):
        written = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        assert written == [
            "speech-lora/adapter_config.json",
            "speech-lora/adapter_model.safetensors",
            "vision-lora/adapter_config.json",
            "vision-lora/adapter_model.safetensors",
        ]
        for name in written:
            assert (folder / name).read_bytes() == (transformers / name).read_bytes()
    names = read_header(tmp_path / "saved" / "vision-lora" / "adapter_model.safetensors")
    assert "base_model.model.model.layers.1.self_attn.qkv_proj.lora_A.weight" in names


def test_tokenizer_and_settings_are_copied_and_nothing_else(original: Path, tmp_path: Path) -> None:
    """A converted model needs its tokenizer, and must not contain code or pickles."""
    source = tmp_path / "source"
    convert(original, source, form="original")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "training.json"):
        (source / name).write_text(f'"{name}"')
    for name in ("pytorch_model.bin", "modeling_phi4mm.py", "notes.txt"):
        (source / name).touch()
    convert(source, tmp_path / "out", form="transformers")
    assert (tmp_path / "out" / "tokenizer.json").read_text() == '"tokenizer.json"'
    assert {path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".safetensors"} == {
        "config.json",
        "generation_config.json",
        "speech-lora",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
        "vision-lora",
    }


def test_a_model_without_some_modalities_cannot_be_saved(original: Path, tmp_path: Path) -> None:
    """The checkpoint would lack its towers."""
    model = load_model(original, device="cpu", dtype=torch.float32, modalities=())
    with pytest.raises(ConfigError, match=r"was loaded without text\.layers\.0\S+ and \d+ more; load all modalities"):
        save_original(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_empty_is_not_overwritten(original: Path, tmp_path: Path) -> None:
    """A checkpoint must not be converted in its own folder."""
    before = (original / "model.safetensors").stat().st_mtime_ns
    with pytest.raises(ConfigError, match="is there already and not empty; name a new folder"):
        convert(original, original, form="transformers")
    assert (original / "model.safetensors").stat().st_mtime_ns == before


def test_a_save_that_fails_leaves_no_files(tmp_path: Path) -> None:
    """Half a checkpoint could be taken for a whole one; and one that is there must not be damaged."""
    with (
        pytest.raises(CheckpointError, match=r"out could not be written: .*No such file"),
        whole_folder(tmp_path / "out") as out,
    ):
        (out / "missing" / "config.json").touch()
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "out"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.safetensors").touch()
    with (
        pytest.raises(ConfigError, match="out is there already and not empty; name a new folder"),
        whole_folder(tmp_path / "out"),
    ):
        pytest.fail("the block must not run")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.safetensors"]
