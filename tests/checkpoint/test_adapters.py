"""Folders of one LoRA: read with all known tensor names, refused with every problem, and written as PEFT does."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from phi4mm.checkpoint.adapters import module, read_adapter, write_adapter
from phi4mm.checkpoint.load import load_model
from phi4mm.checkpoint.shards import read_header, tensor_source, write_file
from phi4mm.config.load import load_config
from phi4mm.config.model import Phi4MMConfig
from phi4mm.errors import CheckpointError, ConfigError
from phi4mm.model.adapter_weights import PROJECTIONS, AdapterWeights, Target, projection_sizes
from tests.checkpoint.small import Header, rewrite_header

RANK = 4
PREFIX = "base_model.model."
SETTINGS = {"peft_type": "LORA", "r": RANK, "lora_alpha": 10, "target_modules": ["qkv_proj", "down_proj"]}
Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def small(original: Path) -> Phi4MMConfig:
    return load_config(original)


def lora(config: Phi4MMConfig, projections: tuple[str, ...] = PROJECTIONS, rank: int = RANK) -> AdapterWeights:
    """Random matrices for all layers."""
    sizes, generator = projection_sizes(config.text), torch.Generator().manual_seed(1)
    layers: dict[Target, tuple[Tensor, Tensor]] = {}
    for layer in range(config.text.num_layers):
        for projection in projections:
            outputs, inputs = sizes[projection]
            a, b = torch.randn(rank, inputs, generator=generator), torch.randn(outputs, rank, generator=generator)
            layers[layer, projection] = (a, b)
    return AdapterWeights(layers, 2.5)


def named(weights: AdapterWeights, name: Callable[[str, str], str]) -> Tensors:
    """The tensors, with names that `name` makes of module and side."""
    return {
        name(module(target), side): tensor
        for target, pair in weights.layers.items()
        for side, tensor in zip("AB", pair, strict=True)
    }


def as_saved(module: str, side: str) -> str:
    return f"{PREFIX}{module}.lora_{side}.weight"


def write(folder: Path, tensors: Tensors, **settings: Any) -> Path:
    """Write an adapter's folder with these tensors and settings."""
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(SETTINGS | settings))
    write_file(folder / "adapter_model.safetensors", {name: tensor_source(tensor) for name, tensor in tensors.items()})
    return folder


def same(one: AdapterWeights, other: AdapterWeights) -> bool:
    return one.layers.keys() == other.layers.keys() and all(
        a.dtype == b.dtype and torch.equal(a, b)
        for target, pair in one.layers.items()
        for a, b in zip(pair, other.layers[target], strict=True)
    )


def test_the_published_adapters_are_read_as_the_model_loads_them(transformers: Path) -> None:
    """A and B must not be swapped or transposed or at another target, and the scaling must be the same."""
    model = load_model(transformers, device="cpu", dtype=torch.float32)
    for name, expected in (("vision", model.config.vision_lora), ("speech", model.config.speech_lora)):
        found = read_adapter(transformers / f"{name}-lora", model.config)
        assert expected is not None
        assert found.scaling == expected.scaling
        assert len(found.layers) == model.config.text.num_layers * len(PROJECTIONS)
        for target, (a, b) in found.layers.items():
            linear = model.get_submodule(module(target).replace("model.", "text.", 1))
            loaded = dict(linear.named_parameters())
            assert torch.equal(a, loaded[f"lora_a.{name}"])
            assert torch.equal(b, loaded[f"lora_b.{name}"])


@pytest.mark.parametrize(
    "name",
    [
        as_saved,
        lambda module, side: f"{PREFIX}{module}.lora_{side}.default.weight",
        lambda module, side: f"{module}.lora_{side}.speech.weight",
        lambda module, side: f"{module}.lora_{side}.weight",
    ],
    ids=["as PEFT saves", "with the adapter's name", "the original layout", "without a prefix"],
)
def test_all_known_tensor_names_give_the_same_adapter(
    name: Callable[[str, str], str], small: Phi4MMConfig, tmp_path: Path
) -> None:
    """Which tool saved an adapter must not matter."""
    weights = lora(small, ("qkv_proj", "down_proj"))
    found = read_adapter(write(tmp_path / "a", named(weights, name)), small)
    assert same(found, weights)
    assert found.scaling == 10 / RANK


@pytest.mark.parametrize("projections", [("o_proj",), ("gate_up_proj", "qkv_proj"), PROJECTIONS])
def test_any_of_the_four_projections_may_be_adapted(
    projections: tuple[str, ...], small: Phi4MMConfig, tmp_path: Path
) -> None:
    """Adapters of attention alone, the usual kind, must not be refused or extended."""
    weights = lora(small, projections)
    found = read_adapter(write(tmp_path / "a", named(weights, as_saved), target_modules=list(projections)), small)
    assert same(found, weights)


def test_a_pattern_may_choose_single_layers(small: Phi4MMConfig, tmp_path: Path) -> None:
    """An untrusted regular expression is not run; the targets are those whose A and B are in the file."""
    weights = lora(small, ("o_proj",))
    one = replace(weights, layers={target: pair for target, pair in weights.layers.items() if target[0] == 1})
    tensors = named(one, as_saved)
    assert same(read_adapter(write(tmp_path / "a", tensors, target_modules=r"(a+)+\.1\..*o_proj"), small), one)
    chosen = {"target_modules": ["o_proj"], "layers_to_transform": [1]}
    assert same(read_adapter(write(tmp_path / "b", tensors, **chosen), small), one)


def test_rank_stabilised_scaling_is_alpha_over_the_root(small: Phi4MMConfig, tmp_path: Path) -> None:
    """alpha / rank would give the adapter half its effect."""
    tensors = named(lora(small, ("qkv_proj", "down_proj")), as_saved)
    assert read_adapter(write(tmp_path / "a", tensors, use_rslora=True), small).scaling == 10 / math.sqrt(RANK)


def test_a_written_adapter_is_read_back_bit_for_bit(small: Phi4MMConfig, tmp_path: Path) -> None:
    """Saving and loading must not change a fine-tuned adapter."""
    for number, dtype in enumerate((torch.float32, torch.bfloat16, torch.float16)):
        weights = lora(small, ("qkv_proj", "gate_up_proj"))
        weights = replace(
            weights,
            layers={target: (a.to(dtype), b.to(dtype)) for target, (a, b) in weights.layers.items()},
            scaling=0.3,
        )
        write_adapter(weights, tmp_path / str(number), config=small)
        found = read_adapter(tmp_path / str(number), small)
        assert same(found, weights)
        assert found.scaling == pytest.approx(weights.scaling, rel=1e-15)
    names = read_header(tmp_path / "0" / "adapter_model.safetensors")
    assert next(iter(names)) == f"{PREFIX}model.layers.0.mlp.gate_up_proj.lora_A.weight"


def test_every_problem_of_the_tensors_is_in_one_error(
    small: Phi4MMConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user must not meet them one by one, nor after gigabytes were read; half a pair is an error."""
    tensors = named(lora(small, ("qkv_proj", "down_proj")), as_saved)
    tensors.pop(f"{PREFIX}model.layers.0.self_attn.qkv_proj.lora_B.weight")
    tensors[f"{PREFIX}model.layers.1.mlp.down_proj.lora_A.weight"] = torch.zeros(RANK + 1, 3)
    tensors[f"{PREFIX}model.layers.1.mlp.down_proj.lora_B.weight"] = torch.zeros(
        projection_sizes(small.text)["down_proj"][0], RANK, dtype=torch.uint8
    )
    tensors[f"{PREFIX}model.layers.999.mlp.down_proj.lora_A.weight"] = torch.zeros(1)
    tensors[f"{PREFIX}lm_head.weight"] = torch.zeros(1)
    tensors[f"{PREFIX}model.layers.0.mlp.down_proj.lora_A.other.weight"] = torch.zeros(1)
    monkeypatch.setattr("phi4mm.checkpoint.adapters.read_tensor", lambda _: pytest.fail("read before it was checked"))
    with pytest.raises(CheckpointError) as caught:
        read_adapter(write(tmp_path / "a", tensors), small)
    text = str(caught.value)
    inputs = small.text.intermediate_size
    for line in (
        "(6 problems)",
        f"unexpected {PREFIX}lm_head.weight",
        f"unexpected {PREFIX}model.layers.999.mlp.down_proj.lora_A.weight",
        f"repeated {PREFIX}model.layers.0.mlp.down_proj.lora_A.other.weight",
        f"misshaped {PREFIX}model.layers.1.mlp.down_proj.lora_A.weight (5, 3); expected (4, {inputs})",
        f"mistyped {PREFIX}model.layers.1.mlp.down_proj.lora_B.weight uint8; expected float32",
        "missing model.layers.0.self_attn.qkv_proj.lora_B.weight",
    ):
        assert line in text


def test_an_adapter_for_another_base_is_refused_with_both_sizes(small: Phi4MMConfig, tmp_path: Path) -> None:
    """nano's adapter on the published model would fail in the middle of an answer."""
    folder = write(tmp_path / "a", named(lora(small, ("qkv_proj", "down_proj")), as_saved))
    larger = replace(small, text=replace(small.text, intermediate_size=2 * small.text.intermediate_size))
    sizes = (small.text.intermediate_size, larger.text.intermediate_size)
    message = r"misshaped \S+down_proj\.lora_A\.weight \(4, {}\); expected \(4, {}\)".format(*sizes)
    with pytest.raises(CheckpointError, match=message):
        read_adapter(folder, larger)


def test_targets_that_are_named_and_have_no_tensors_are_refused(small: Phi4MMConfig, tmp_path: Path) -> None:
    """Otherwise a file that a tool cut short would leave half of the layers without their adapter."""
    weights = lora(small, ("qkv_proj", "down_proj"))
    half = replace(weights, layers={target: pair for target, pair in weights.layers.items() if target[0] == 0})
    with pytest.raises(CheckpointError, match=r"missing model\.layers\.1\.self_attn\.qkv_proj\.lora_A\.weight"):
        read_adapter(write(tmp_path / "a", named(half, as_saved)), small)
    with pytest.raises(CheckpointError, match="no LoRA of the decoder at all"):
        read_adapter(write(tmp_path / "b", {}, target_modules=["q_proj"]), small)


def test_two_adapters_in_one_file_are_refused(small: Phi4MMConfig, tmp_path: Path) -> None:
    """They must not be loaded as one, half of each."""
    tensors = named(lora(small, ("qkv_proj",)), lambda module, side: f"{module}.lora_{side}.one.weight")
    tensors |= named(lora(small, ("down_proj",)), lambda module, side: f"{module}.lora_{side}.two.weight")
    with pytest.raises(CheckpointError, match="adapters of several names: one, two; expected one in a folder"):
        read_adapter(write(tmp_path / "a", tensors), small)


def test_nan_in_an_adapter_is_an_error_that_names_the_tensor(small: Phi4MMConfig, tmp_path: Path) -> None:
    """With an adapter of a diverged training run, every answer would be noise."""
    weights = lora(small, ("qkv_proj", "down_proj"))
    weights.layers[1, "qkv_proj"][1][0, 0] = math.nan
    folder = write(tmp_path / "a", named(weights, as_saved))
    with pytest.raises(CheckpointError, match=r"NaN or infinite numbers in:\n  model\.layers\.1\.self_attn\.qkv_proj"):
        read_adapter(folder, small)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_dora": True}, "use_dora is True; phi4mm implements only False"),
        ({"bias": "lora_only"}, "bias is 'lora_only'; phi4mm implements only 'none'"),
        ({"lora_bias": True}, "lora_bias is True"),
        ({"modules_to_save": ["lm_head"]}, r"modules_to_save is \['lm_head'\]"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out is True"),
        ({"rank_pattern": {"o_proj": 8}}, "rank_pattern is {'o_proj': 8}"),
        ({"alpha_pattern": {"o_proj": 8}}, "alpha_pattern is {'o_proj': 8}"),
        ({"layer_replication": [[0, 2]]}, "layer_replication is"),
        ({"use_qalora": True}, "use_qalora is True"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens is"),
        ({"target_parameters": ["experts"]}, "target_parameters is"),
        ({"peft_type": "IA3"}, "peft_type is 'IA3'; phi4mm implements only 'LORA'"),
        ({"init_lora_weights": "pissa_niter_16"}, "init_lora_weights is 'pissa_niter_16', which also changes the base"),
        ({"use_rslora": "yes"}, "use_rslora is 'yes'; expected true or false"),
        ({"target_modules": [1]}, r"target_modules is \[1\]; expected names of modules"),
        ({"r": 0}, "r is 0; expected a whole number from 1"),
        ({"lora_alpha": None}, "lora_alpha is None; expected a number"),
    ],
)
def test_other_kinds_of_adapter_are_refused_with_the_setting(
    settings: dict[str, Any], message: str, small: Phi4MMConfig, tmp_path: Path
) -> None:
    """DoRA, biases and the like must not run as if they were plain LoRA, which gives other numbers."""
    folder = write(tmp_path / "a", named(lora(small, ("qkv_proj", "down_proj")), as_saved), **settings)
    with pytest.raises(ConfigError, match=message):
        read_adapter(folder, small)


def test_settings_without_effect_are_ignored(small: Phi4MMConfig, tmp_path: Path) -> None:
    """PEFT writes them for every plain adapter."""
    no_effect: dict[str, Any] = {
        "rank_pattern": {},
        "modules_to_save": None,
        "use_dora": False,
        "init_lora_weights": "gaussian",
    }
    weights = lora(small, ("qkv_proj", "down_proj"))
    assert same(
        read_adapter(write(tmp_path / "a", named(weights, as_saved), **no_effect, lora_dropout=0.1), small), weights
    )


def test_a_pickle_is_refused_with_what_to_do(small: Phi4MMConfig, tmp_path: Path) -> None:
    """Untrusted code must not run, and the error says how to save the adapter instead."""
    folder = write(tmp_path / "a", {})
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(CheckpointError, match=r"never opens pickles.*safe_serialization=True"):
        read_adapter(folder, small)
    with pytest.raises(ConfigError, match=r"adapter_config\.json not found"):
        read_adapter(tmp_path / "nothing", small)


def test_a_damaged_file_is_refused(small: Phi4MMConfig, tmp_path: Path) -> None:
    """A header that does not match its file must not be used."""
    folder = write(tmp_path / "a", named(lora(small, ("qkv_proj", "down_proj")), as_saved))

    def shifted(header: Header) -> Header:
        return {name: entry for name, entry in header.items() if "layers.0" not in name}

    rewrite_header(folder / "adapter_model.safetensors", shifted)
    with pytest.raises(CheckpointError, match=r"no gap or overlap|it is damaged"):
        read_adapter(folder, small)


def test_an_adapter_that_cannot_be_written_leaves_no_files(small: Phi4MMConfig, tmp_path: Path) -> None:
    """Half an adapter could be taken for a whole one; and a folder that is not empty must not be overwritten."""
    weights = lora(small, ("qkv_proj",))
    a, b = weights.layers[0, "qkv_proj"]
    wrong: list[tuple[dict[Target, tuple[Tensor, Tensor]], str]] = [
        ({}, r"ranks \[\]; expected one rank"),
        ({(0, "qkv_proj"): (a, b), (1, "qkv_proj"): (a[:2], b[:, :2])}, r"ranks \[2, 4\]"),
        ({(0, "qkv_proj"): (a[:, 1:], b)}, r"misshaped \(0, 'qkv_proj'\) A"),
        ({(0, "q_proj"): (a, b)}, r"unexpected \(0, 'q_proj'\) A"),
        ({(99, "qkv_proj"): (a, b)}, r"unexpected \(99, 'qkv_proj'\) B"),
        ({(0, "qkv_proj"): (a.double(), b)}, "float64; expected float32, bfloat16 or float16"),
    ]
    for layers, message in wrong:
        with pytest.raises(ConfigError, match=message):
            write_adapter(replace(weights, layers=layers), tmp_path / "a", config=small)
    assert list(tmp_path.iterdir()) == []
    write_adapter(weights, tmp_path / "a", config=small)
    before = shutil.copytree(tmp_path / "a", tmp_path / "copy")
    with pytest.raises(ConfigError, match="is there already and not empty"):
        write_adapter(weights, tmp_path / "a", config=small)
    assert (tmp_path / "a" / "adapter_config.json").read_bytes() == (before / "adapter_config.json").read_bytes()
