"""Quantized folders: written from a checkpoint, loaded by a memory map, refused when they are incomplete."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from phi4mm.checkpoint.contents import read_contents
from phi4mm.checkpoint.load import load_model
from phi4mm.checkpoint.quantize import quantize_folder
from phi4mm.checkpoint.save import convert, save_original
from phi4mm.checkpoint.scheme import read_scheme
from phi4mm.checkpoint.synthetic import write_synthetic
from phi4mm.config.engine import QUANTIZATIONS, Quantization
from phi4mm.errors import CheckpointError, ConfigError
from phi4mm.quantization.quantize import quantize_model
from tests.checkpoint.small import Header, config, rewrite_header, same

UP = "text.layers.0.mlp.gate_up_proj.weight"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bfloat16 checkpoint with a tokenizer file."""
    folder = tmp_path_factory.mktemp("quant") / "original"
    write_synthetic(config(), folder, dtype="bfloat16")
    (folder / "tokenizer.json").write_text('"tokenizer.json"')
    return folder


@pytest.fixture(scope="module")
def packed(original: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Quantization, Path]:
    """Read-only: tests that damage a folder copy it first."""
    folder = tmp_path_factory.mktemp("packed")
    for scheme in QUANTIZATIONS:
        quantize_folder(original, folder / scheme, scheme=scheme)
    return {scheme: folder / scheme for scheme in QUANTIZATIONS}


@pytest.fixture
def damaged(packed: dict[Quantization, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(packed["int4"], tmp_path / "model"))


@pytest.mark.parametrize("scheme", QUANTIZATIONS)
def test_folder_loading_and_packing_in_place_give_the_same_model(
    scheme: Quantization, original: Path, packed: dict[Quantization, Path]
) -> None:
    """The three ways to quantize must not differ in any bit, name or dtype."""
    mapped = load_model(packed[scheme], device="cpu", dtype=torch.bfloat16).state_dict()
    streamed = load_model(original, device="cpu", dtype=torch.bfloat16, quantize=scheme).state_dict()
    in_place = quantize_model(load_model(original, device="cpu", dtype=torch.bfloat16), scheme).state_dict()
    assert same(mapped, streamed)
    assert same(mapped, in_place)
    dtypes = {name: tensor.dtype for name, tensor in mapped.items()}
    assert dtypes[f"{UP}.codes"] == torch.uint8
    assert dtypes == {name: tensor.dtype for name, tensor in streamed.items()}


def test_a_float32_model_keeps_packed_tensors_as_they_are(original: Path, packed: dict[Quantization, Path]) -> None:
    """Scales and codes must not be cast with the norms."""
    mapped = load_model(packed["int8"], device="cpu", dtype=torch.float32).state_dict()
    assert {str(tensor.dtype) for name, tensor in mapped.items() if name.endswith(".scales")} == {"torch.bfloat16"}
    assert mapped["text.norm.weight"].dtype == torch.float32
    assert same(mapped, load_model(original, device="cpu", dtype=torch.float32, quantize="int8").state_dict())


def test_towers_of_a_quantized_folder_are_memory_mapped_and_never_written_to(
    packed: dict[Quantization, Path],
) -> None:
    """A text prompt does not need them in memory, and changes of the model must not reach the file."""
    file = packed["int4"] / "model.safetensors"
    before = file.read_bytes()
    model = load_model(packed["int4"], device="cpu", dtype=torch.bfloat16)
    state = model.state_dict()
    decoder = {name for name in state if name.startswith("text.")}
    mapped = {state[name].untyped_storage().data_ptr() for name in state.keys() - decoder}
    assert len(mapped) == 1, "every tensor but those of the decoder and its adapters is in one memory map"
    assert mapped.isdisjoint(state[name].untyped_storage().data_ptr() for name in decoder)
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(file) in maps.read_text()
    for tensor in model.state_dict().values():
        tensor.zero_()
    assert file.read_bytes() == before


def test_packed_tensors_are_aligned_in_the_file(packed: dict[Quantization, Path]) -> None:
    """In a memory-mapped model, vectors that are not aligned would cross cache lines in every step."""
    codes = [tensor for name, tensor in read_contents(packed["int8"]).tensors.items() if name.endswith(".codes")]
    assert codes[0].start % 64 == 0
    assert all(tensor.start % 32 == 0 for tensor in codes)


def test_a_quantized_folder_has_the_tokenizer_and_its_scheme(packed: dict[Quantization, Path]) -> None:
    """Without them, it could not be loaded."""
    assert {path.name for path in packed["int8"].iterdir()} == {
        "config.json",
        "model.safetensors",
        "quantization.json",
        "tokenizer.json",
    }
    written = json.loads((packed["int8"] / "quantization.json").read_text())
    assert written == {"format": "phi4mm-packed", "version": 2, "scheme": "int8"}
    assert read_scheme(packed["int4"]) == "int4"


def test_only_the_chosen_modalities_of_a_quantized_folder_are_loaded(packed: dict[Quantization, Path]) -> None:
    """A text model must not keep towers and adapters in memory."""
    whole = load_model(packed["int4"], device="cpu", dtype=torch.bfloat16).state_dict()
    text = load_model(packed["int4"], device="cpu", dtype=torch.bfloat16, modalities=()).state_dict()
    assert all(name.startswith("text.") and ".lora_" not in name for name in text)
    speech = load_model(packed["int4"], device="cpu", dtype=torch.bfloat16, modalities=("speech",)).state_dict()
    assert {name.split(".")[0] for name in speech} == {"text", "audio"}
    assert not any(".vision" in name for name in speech if ".lora_" in name)
    assert all(torch.equal(tensor, whole[name]) for name, tensor in (text | speech).items())


def test_every_wrong_tensor_of_a_quantized_folder_is_listed(damaged: Path) -> None:
    """Codes of another model or another width must not be loaded, and one run must show all errors."""

    def damage(header: Header) -> Header:
        header[f"{UP}.codes"]["shape"][:2] = header[f"{UP}.codes"]["shape"][1::-1]
        header["text.norm.scale"] = header.pop("text.norm.weight")
        scales = header[f"{UP}.scales"]
        scales["dtype"] = "F16"
        norm = header["text.layers.0.input_layernorm.weight"]
        norm["dtype"], norm["shape"] = "U8", [2 * norm["shape"][0]]
        return header

    rewrite_header(damaged / "model.safetensors", damage)
    with pytest.raises(CheckpointError) as refused:
        load_model(damaged, device="cpu", dtype=torch.bfloat16)
    message = str(refused.value)
    assert "(1 missing, 1 unexpected, 2 misshaped, 1 mistyped)" in message
    for line in (
        "missing text.norm.weight",
        "unexpected text.norm.scale",
        f"misshaped {UP}.codes",
        "misshaped text.layers.0.input_layernorm.weight (128,); expected (64,)",
        f"mistyped {UP}.scales float16; expected bfloat16",
    ):
        assert f"\n  {line}" in message


def test_codes_in_a_plain_checkpoint_are_refused(original: Path, tmp_path: Path) -> None:
    """Without quantization.json, codes must not be read as weights."""
    folder = Path(shutil.copytree(original, tmp_path / "model"))

    def damage(header: Header) -> Header:
        norm = header["model.norm.weight"]
        norm["dtype"], norm["shape"] = "U8", [2 * norm["shape"][0]]
        return header

    rewrite_header(folder / "model.safetensors", damage)
    with pytest.raises(CheckpointError, match=r"misshaped model\.norm\.weight \(128,\); expected \(64,\)"):
        load_model(folder, device="cpu", dtype=torch.bfloat16)
    unnamed = Path(shutil.copytree(original, tmp_path / "unnamed"))
    quantize_folder(original, tmp_path / "int8", scheme="int8")
    shutil.copy(tmp_path / "int8" / "model.safetensors", unnamed / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"unexpected text\.embed_tokens\.weight\.codes"):
        load_model(unnamed, device="cpu", dtype=torch.bfloat16)


def test_a_truncated_file_is_refused_before_it_is_memory_mapped(damaged: Path) -> None:
    """Otherwise reading past its end would be a bus error in the middle of an answer."""
    path = damaged / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="it is damaged, fetch it again"):
        load_model(damaged, device="cpu", dtype=torch.bfloat16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1}, "is quantized in version 1 of the format and this phi4mm reads version 2"),
        ({"version": "1"}, "version is '1'; expected a whole number"),
        ({"scheme": "int2"}, "scheme is 'int2'; expected one of int8, int4"),
        ({"format": "gguf"}, "format is 'gguf'; phi4mm implements only 'phi4mm-packed'"),
        ({"schemes": "int4"}, "unknown key schemes; did you mean scheme"),
    ],
)
def test_an_unknown_scheme_or_version_is_refused(damaged: Path, change: dict[str, object], message: str) -> None:
    """Codes of another format must not be read as codes of this one."""
    path = damaged / "quantization.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ConfigError, match=message):
        load_model(damaged, device="cpu", dtype=torch.bfloat16)


def test_a_scheme_other_than_that_of_the_files_is_refused(damaged: Path) -> None:
    """int4 codes must not be read as int8, whether the caller or quantization.json says so."""
    with pytest.raises(ConfigError, match="is quantized in int4; load it without `quantize`, or load the checkpoint"):
        load_model(damaged, device="cpu", dtype=torch.bfloat16, quantize="int8")
    assert load_model(damaged, device="cpu", dtype=torch.bfloat16, quantize="int4")
    path = damaged / "quantization.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"scheme": "int8"}))
    with pytest.raises(
        CheckpointError, match=r"misshaped text\.embed_tokens\.weight\.codes .*512\); expected .*1024\)"
    ):
        load_model(damaged, device="cpu", dtype=torch.bfloat16)


def test_a_quantized_folder_is_neither_quantized_again_nor_converted(
    packed: dict[Quantization, Path], original: Path, tmp_path: Path
) -> None:
    """Errors of both quantizations would add up, and the layouts cannot store packed weights."""
    with pytest.raises(ConfigError, match="is quantized already, in int4; give the checkpoint it was made from"):
        quantize_folder(packed["int4"], tmp_path / "out", scheme="int8")
    with pytest.raises(ConfigError, match="is quantized in int4, which cannot be converted"):
        convert(packed["int4"], tmp_path / "out", form="transformers")
    model = load_model(original, device="cpu", dtype=torch.bfloat16, quantize="int8")
    with pytest.raises(ConfigError, match="this model is quantized; save the model before quantization"):
        save_original(model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_both_layouts_quantize_to_the_same_folder(
    original: Path, packed: dict[Quantization, Path], tmp_path: Path
) -> None:
    """The result must not depend on the layout of the source."""
    convert(original, tmp_path / "transformers", form="transformers")
    reported: list[tuple[int, int]] = []
    quantize_folder(
        tmp_path / "transformers", tmp_path / "out", scheme="int4", progress=lambda *counts: reported.append(counts)
    )
    for name in ("config.json", "model.safetensors", "quantization.json"):
        assert (tmp_path / "out" / name).read_bytes() == (packed["int4"] / name).read_bytes(), name
    assert reported == [(n, len(reported)) for n in range(1, len(reported) + 1)]
    shutil.rmtree(tmp_path / "transformers" / "speech-lora")
    with pytest.raises(ConfigError, match="lacks an adapter; a quantized folder needs both"):
        quantize_folder(tmp_path / "transformers", tmp_path / "again", scheme="int4")


def test_quantizing_that_fails_leaves_nothing_behind(original: Path, tmp_path: Path) -> None:
    """Half a folder could be taken for a whole one."""

    def stop(done: int, total: int) -> None:
        if done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize_folder(original, tmp_path / "out", scheme="int4", progress=stop)
    assert list(tmp_path.iterdir()) == []
