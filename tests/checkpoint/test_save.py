"""Models into checkpoints: what is written is what was loaded, bit for bit."""

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
    """Prevents: fine-tuned weights that are not the ones that were trained."""
    model = load_model(original, device="cpu", dtype=torch.float32)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.mul_(1.5)
    save_original(model, tmp_path / "original")
    save_transformers(model, tmp_path / "transformers")
    for layout in ("original", "transformers"):
        assert same(state(tmp_path / layout), model.state_dict())
        assert load_config(tmp_path / layout).layout == layout


def test_there_and_back_again_is_the_same_file(original: Path, tmp_path: Path) -> None:
    """Prevents: a conversion that loses a tensor, a bit or a setting on the way."""
    convert(original, tmp_path / "there", form="transformers")
    convert(tmp_path / "there", tmp_path / "back", form="original")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "back" / name).read_bytes() == (original / name).read_bytes(), name


def test_conversion_casts_and_says_so(original: Path, tmp_path: Path) -> None:
    """Prevents: a config.json that promises another precision than the weights have."""
    convert(original, tmp_path / "half", form="original", dtype=torch.bfloat16)
    assert load_config(tmp_path / "half").dtype == "bfloat16"
    exact = {name: tensor.bfloat16().float() for name, tensor in state(original).items()}
    assert same(state(tmp_path / "half"), exact)


def test_adapters_alone_are_two_folders_in_the_form_of_peft(original: Path, transformers: Path, tmp_path: Path) -> None:
    """Prevents: adapters that PEFT cannot read, or that drag the whole model along."""
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


def test_companions_come_along_and_nothing_else_does(original: Path, tmp_path: Path) -> None:
    """Prevents: a converted model without its tokenizer, or with somebody's code and pickles."""
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


def test_a_model_loaded_in_part_cannot_be_saved_as_a_whole(original: Path, tmp_path: Path) -> None:
    """Prevents: a checkpoint without its towers, found out when it is next needed."""
    model = load_model(original, device="cpu", dtype=torch.float32, modalities=())
    with pytest.raises(ConfigError, match=r"was loaded without text\.layers\.0\S+ and \d+ more; load all modalities"):
        save_original(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_left_alone(original: Path, tmp_path: Path) -> None:
    """Prevents: converting a checkpoint onto itself."""
    before = (original / "model.safetensors").stat().st_mtime_ns
    with pytest.raises(ConfigError, match="is there already and not empty; name a new folder"):
        convert(original, original, form="transformers")
    assert (original / "model.safetensors").stat().st_mtime_ns == before


def test_a_failed_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    """Prevents: half a checkpoint that looks whole, and the ruin of one that was there."""
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
