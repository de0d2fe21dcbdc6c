"""Synthetic checkpoints, with which golden files were recorded."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from phi4mm.checkpoint.contents import skeleton
from phi4mm.checkpoint.keys import stored_name
from phi4mm.checkpoint.shards import read_header
from phi4mm.checkpoint.synthetic import tensor, uniform, write_synthetic
from phi4mm.config.original import from_original
from phi4mm.errors import ConfigError
from tests.checkpoint.small import GOLDEN, config, state

EMBED = "model.embed_tokens_extend."
TOWER = EMBED + "image_embed.img_processor."
ENCODER = EMBED + "audio_embed.encoder."
# (name, shape, crc32 of the float32 bytes, last value), from the formulas with which golden files were recorded.
SAMPLES: list[tuple[str, tuple[int, ...], int, float]] = [
    ("model.embed_tokens.weight", (3000, 64), 3579335006, -0.7705044746398926),
    ("model.norm.weight", (64,), 1657534296, 0.9931125044822693),
    ("model.layers.1.input_layernorm.weight", (64,), 2837218284, 1.0155469179153442),
    ("model.layers.0.self_attn.qkv_proj.base_layer.weight", (128, 64), 1687671189, -0.16463243961334229),
    ("model.layers.1.mlp.down_proj.lora_B.speech.weight", (64, 12), 1834419718, -0.20932114124298096),
    (TOWER + "embeddings.patch_embedding.weight", (48, 3, 14, 14), 636789577, -0.03017151542007923),
    (TOWER + "encoder.layers.0.layer_norm1.bias", (48,), 3947884833, 0.07270302623510361),
    (TOWER + "head.attention.in_proj_bias", (144,), 1291580298, -0.070353202521801),
    (EMBED + "image_embed.sub_GN", (1, 1, 1, 48), 309487923, 0.7143393754959106),
    (ENCODER + "encoder_embedding.global_mean", (80,), 3199598925, 13.751294136047363),
    (ENCODER + "encoder_embedding.global_invstd", (80,), 1125843689, 0.23286761343479156),
    (ENCODER + "relative_attention_bias_layer.bias_values.weight", (1000, 4), 3808086499, -1.2688877582550049),
    (ENCODER + "encoders.0.conv.glu.b1", (1, 64, 1), 1800925041, 0.02601834572851658),
    (EMBED + "audio_embed.audio_projection.vision.2.bias", (64,), 484540157, 0.045858800411224365),
]


@pytest.mark.parametrize(("name", "shape", "crc", "last"), SAMPLES, ids=[sample[0] for sample in SAMPLES])
def test_every_rule_gives_the_recorded_bits(name: str, shape: tuple[int, ...], crc: int, last: float) -> None:
    """If one bit of a checkpoint differed, tests against golden files would fail although the model is right."""
    values = tensor(name, shape)
    assert values.dtype == np.float32
    assert values.shape == shape
    assert float(values.flat[-1]) == last
    assert zlib.crc32(values.tobytes()) == crc


def test_the_index_runs_on_from_one_block_to_the_next() -> None:
    """It must not restart in each block; the largest sample above has three."""
    whole = uniform("model.embed_tokens.weight", (200_000,))
    assert np.array_equal(whole[:192_000], tensor("model.embed_tokens.weight", (3000, 64)).ravel())
    assert len(np.unique(whole)) > 195_000


def test_published_sizes_give_the_published_names_and_shapes() -> None:
    """The published model has 2047 tensors; names and shapes are compared by a checksum."""
    model = skeleton(from_original(json.loads((GOLDEN / "published.json").read_text())))
    shapes = {stored_name(name, "original").name: list(value.shape) for name, value in model.state_dict().items()}
    assert len(shapes) == 2047
    assert sum(math.prod(shape) for shape in shapes.values()) == 5_574_460_384
    listing = "\n".join(f"{name} {shape}" for name, shape in sorted(shapes.items()))
    assert zlib.crc32(listing.encode()) == 3099695404


@pytest.mark.parametrize("layout", ["original", "transformers"])
def test_both_layouts_have_the_values_of_the_published_names(layout: str, request: pytest.FixtureRequest) -> None:
    """With values of the other layout's names, it would be another model."""
    for name, found in state(request.getfixturevalue(layout)).items():
        expected = tensor(stored_name(name, "original").name, tuple(found.shape))
        assert np.array_equal(found.numpy(), expected), name


def test_bfloat16_values_are_the_rounded_float32_values(tmp_path: Path) -> None:
    """They must not be truncated, nor be float32 with a bfloat16 header."""
    write_synthetic(config(), tmp_path / "out", dtype="bfloat16")
    assert {stored.dtype for stored in read_header(tmp_path / "out" / "model.safetensors").values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["torch_dtype"] == "bfloat16"
    found = state(tmp_path / "out")["text.layers.0.mlp.down_proj.weight"]
    exact = torch.from_numpy(tensor("model.layers.0.mlp.down_proj.base_layer.weight", tuple(found.shape)))
    assert torch.equal(found, exact.bfloat16().float())
    with pytest.raises(ConfigError, match="dtype is 'int8'; expected float32, bfloat16 or float16"):
        write_synthetic(config(), tmp_path / "other", dtype="int8")
