"""Load checkpoints: both layouts, strictly, and only the parts that are needed."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path

import pytest
import torch

from phi4mm.checkpoint import load
from phi4mm.checkpoint.contents import read_contents
from phi4mm.checkpoint.load import load_model
from phi4mm.checkpoint.shards import StoredTensor, read_header, read_into
from phi4mm.errors import CheckpointError, ConfigError
from phi4mm.machine import peak_resident_bytes
from phi4mm.processing.tokenizer import Tokenizer
from phi4mm.protocol.inputs import Adapter
from tests.checkpoint.small import Header, rewrite_header, same, state
from tests.processing.test_media_io import POINTER

DOWN = "model.layers.0.mlp.down_proj.base_layer.weight"


def copied(folder: Path, to: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(folder, to / "model"))


def renamed(header: Header, *names: tuple[str, str]) -> Header:
    """The header with some tensors renamed."""
    for old, new in names:
        header[new] = header.pop(old)
    return header


def test_both_layouts_load_to_the_same_model(original: Path, transformers: Path) -> None:
    """Finds a tensor that is misnamed, swapped or missing in the table of names."""
    assert same(state(original), state(transformers))


def test_a_loaded_model_is_ready_for_inference(original: Path) -> None:
    """It must not keep gradients, nor have tensors on the meta device or in another dtype."""
    model = load_model(original, device="cpu", dtype=torch.bfloat16)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.bfloat16}
    exact = state(original)
    assert all(torch.equal(tensor, exact[name].bfloat16()) for name, tensor in model.state_dict().items())


def test_every_missing_unexpected_and_misshaped_tensor_is_listed(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All errors come at once, before any weight is read; no weight may stay random."""
    folder = copied(original, tmp_path)

    def damage(header: Header) -> Header:
        header[DOWN]["shape"].reverse()
        return renamed(header, ("model.norm.weight", "model.norm.scale"), ("model.embed_tokens.weight", "wte"))

    rewrite_header(folder / "model.safetensors", damage)
    monkeypatch.setattr(load, "read_into", lambda *_: pytest.fail("a weight was read"))
    with pytest.raises(CheckpointError) as refused:
        state(folder)
    message = str(refused.value)
    assert "do not fit its config.json (2 missing, 2 unexpected, 1 misshaped)" in message
    for line in ("missing model.norm.weight", "missing model.embed_tokens.weight", "unexpected model.norm.scale"):
        assert f"\n  {line}" in message
    assert f"\n  misshaped {DOWN} (128, 64); expected (64, 128)" in message


def test_a_tied_head_is_accepted_and_ignored(original: Path, tmp_path: Path) -> None:
    """Some folders store the embedding a second time as the head."""
    folder = copied(original, tmp_path)
    path = folder / "model.safetensors"
    shape = [300, 64]
    end = path.stat().st_size - 8 - int.from_bytes(path.read_bytes()[:8], "little")
    head = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + 4 * 300 * 64]}
    rewrite_header(path, lambda header: header | {"lm_head.weight": head})
    with path.open("ab") as file:
        file.write(bytes(4 * 300 * 64))
    assert same(state(folder), state(original))


@pytest.mark.parametrize("modalities", [(), ("vision",), ("speech",)])
def test_parts_of_other_modalities_are_neither_read_nor_kept(
    modalities: tuple[Adapter, ...], original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text model must not take the memory and time of the towers; no model may lack what it needs."""
    read: list[StoredTensor] = []

    def counted(file: object, stored: StoredTensor, out: torch.Tensor) -> None:
        read.append(stored)
        read_into(file, stored, out)  # type: ignore[arg-type]

    monkeypatch.setattr(load, "read_into", counted)
    found = load_model(original, device="cpu", dtype=torch.float32, modalities=modalities).state_dict()
    assert len(read) == len(found)
    lora = [name for name in found if ".lora_" in name]
    assert any(name.startswith("image.") for name in found) == ("vision" in modalities)
    assert any(name.startswith("audio.") for name in found) == bool(modalities)
    assert any(name.endswith(".vision") for name in lora) == ("vision" in modalities)
    assert any(name.endswith(".speech") for name in lora) == ("speech" in modalities)
    whole = state(original)
    assert all(torch.equal(tensor, whole[name]) for name, tensor in found.items())


def test_adapter_names_may_lack_the_prefix_of_peft(transformers: Path, tmp_path: Path) -> None:
    """Some converters leave `base_model.model.` out."""
    folder = copied(transformers, tmp_path)
    path = folder / "vision-lora" / "adapter_model.safetensors"
    prefix = "base_model.model."
    names: list[str] = []

    def shorten(header: Header) -> Header:
        names.extend(header)
        return {name.removeprefix(prefix): entry for name, entry in header.items()}

    rewrite_header(path, shorten)
    assert sum(name.startswith(prefix) for name in names) == 16
    assert same(state(folder), state(transformers))


def test_a_missing_adapter_folder_is_an_error_only_for_its_modality(transformers: Path, tmp_path: Path) -> None:
    """Speech without its adapter would get wrong answers and no error."""
    folder = copied(transformers, tmp_path)
    shutil.rmtree(folder / "speech-lora")
    with pytest.raises(CheckpointError, match="has no speech-lora folder, which speech input needs"):
        state(folder)
    assert load_model(folder, device="cpu", dtype=torch.float32, modalities=("vision",)).adapters == ("vision",)


def test_an_adapter_of_another_rank_or_target_is_refused(transformers: Path, tmp_path: Path) -> None:
    """An adapter that does not match its settings must not be loaded in part."""
    folder = copied(transformers, tmp_path)
    settings = folder / "vision-lora" / "adapter_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"r": 4}))
    with pytest.raises(CheckpointError, match=r"vision-lora: model\.layers\.0\.\S+ \(8, 64\); expected \(4, 64\)"):
        state(folder)


def test_a_file_that_shrinks_while_it_is_read_is_an_error(original: Path, tmp_path: Path) -> None:
    """It must not give an endless loop or uninitialised memory."""
    path = tmp_path / "data"
    path.write_bytes(bytes(10))
    with path.open("rb", buffering=0) as file, pytest.raises(CheckpointError, match="ended 6 bytes early"):
        read_into(file, StoredTensor(path, torch.float32, (4,), 0), torch.empty(4))


@pytest.mark.parametrize("layout", ["original", "transformers"])
@pytest.mark.parametrize("part", ["decoder", "image tower", "audio encoder"])
def test_case_b3_ten_million_layers_are_refused_at_once(
    layout: str, part: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """One number in a file of 3 KB built modules for 40 s and took 1.1 GB before the first header was read."""
    folder = copied(request.getfixturevalue(layout), tmp_path)
    config = json.loads((folder / "config.json").read_text())
    audio = config["audio_processor"]["config"] if layout == "original" else config["audio_config"]
    sections = {"decoder": config, "image tower": config["vision_config"], "audio encoder": audio}
    sections[part]["num_blocks" if part == "audio encoder" else "num_hidden_layers"] = 10_000_000
    (folder / "config.json").write_text(json.dumps(config))
    before, start = peak_resident_bytes() or 0, time.process_time()
    with pytest.raises(
        ConfigError, match=r"config\.json asks for .*10000000.* layers .*, and the weights are \d+ tensors"
    ):
        load_model(folder, device="cpu", dtype=torch.float32)
    assert time.process_time() - start < 1
    assert (peak_resident_bytes() or 0) - before < 20e6


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_case_c_weights_that_are_not_finite_are_refused_by_name(original: Path, tmp_path: Path, value: float) -> None:
    """Every answer was the same token, or an error of the sampler."""
    folder = copied(original, tmp_path)
    path = folder / "model.safetensors"
    stored = read_header(path)[DOWN]
    with path.open("r+b") as file:
        file.seek(stored.start + 5 * stored.dtype.itemsize)
        file.write(torch.tensor([value], dtype=stored.dtype).view(torch.uint8).numpy().tobytes())
    message = rf"{re.escape(str(folder))}: {re.escape(DOWN)} holds 1 NaN or infinite numbers of {stored.elements}; "
    with pytest.raises(CheckpointError, match=message):
        state(folder)
    with pytest.raises(CheckpointError, match=message):
        load_model(folder, device="cpu", dtype=torch.float32, quantize="int8")


def test_case_c_large_finite_weights_are_no_fault(original: Path, tmp_path: Path) -> None:
    """Their sum is infinite in 16 bits."""
    tensor = torch.full((70_000,), 60_000.0, dtype=torch.float16)
    assert not tensor.sum().isfinite()
    load._require_finite(tensor, read_contents(original), "text.norm.weight")


def test_case_c_pointers_of_git_lfs_name_the_command(original: Path, tmp_path: Path) -> None:
    """A clone without LFS was called damaged, a header of 2,336,349,411,268,422,262 bytes."""
    for name, read, error in (
        ("model.safetensors", state, CheckpointError),
        ("config.json", state, ConfigError),
        ("tokenizer.json", lambda folder: Tokenizer(folder / "tokenizer.json"), CheckpointError),
    ):
        folder = copied(original, tmp_path / name)
        (folder / name).write_bytes(POINTER)
        with pytest.raises(error, match=rf"{re.escape(name)} is a pointer of Git LFS.*run `git lfs pull`"):
            read(folder)
