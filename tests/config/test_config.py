"""config.json of both layouts: read strictly, written, and refused with the nearest known name."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phi4mm.config.load import load_config
from phi4mm.config.model import PUBLISHED_VISION
from phi4mm.config.original import from_original, to_original
from phi4mm.config.transformers import from_transformers, to_transformers
from phi4mm.errors import ConfigError
from tests.conftest import GOLDEN


@pytest.fixture
def published() -> dict[str, Any]:
    raw: dict[str, Any] = json.loads((GOLDEN / "published.json").read_text())
    return raw


@pytest.mark.parametrize("name", ["published", "tiny", "tiny_rope96"])
def test_both_layouts_are_read_back_as_they_were_written(name: str) -> None:
    """No field has a default, so every field must be written."""
    config = from_original(json.loads((GOLDEN / f"{name}.json").read_text()))
    assert from_original(to_original(config)) == config
    assert from_transformers(*to_transformers(config)) == dataclasses.replace(config, layout="transformers")


def test_the_published_file_does_not_describe_its_image_tower(published: dict[str, Any]) -> None:
    """Then the tower has the published sizes."""
    del published["vision_config"]
    assert from_original(published).vision == PUBLISHED_VISION


@pytest.mark.parametrize(
    "keys", [{"dtype": "float16"}, {"torch_dtype": "float16"}, {"dtype": "float16", "torch_dtype": "x"}]
)
def test_case_c_dtype_is_read_beside_torch_dtype(published: dict[str, Any], keys: dict[str, str]) -> None:
    """Newer versions of transformers write `dtype`, and take it before `torch_dtype`."""
    del published["torch_dtype"]
    assert from_original(published | keys).dtype == "float16"


def test_the_attention_scale_is_that_of_the_documentation(published: dict[str, Any]) -> None:
    """sqrt(1 + 5/12) at the published lengths."""
    assert from_original(published).text.rope.attention_scale == pytest.approx(1.1902380714238083)


def _set(*path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(raw: dict[str, Any]) -> None:
        for key in path[:-1]:
            raw = raw[key]
        raw[path[-1]] = value

    return change


def _delete(raw: dict[str, Any]) -> None:
    del raw["num_key_value_heads"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("num_attention_head", value=3), "unknown key num_attention_head; did you mean num_attention_heads?"),
        (_set("vision_lora", "rr", value=3), "config.json: vision_lora: unknown key rr"),
        (_delete, "num_key_value_heads is missing"),
        (_set("hidden_size", value="3072"), "hidden_size is '3072'; expected a whole number"),
        (_set("hidden_size", value=True), "expected a whole number"),
        (_set("num_hidden_layers", value=10**9), "expected a whole number from 1 to 16777216"),
        (_set("rms_norm_eps", value=float("nan")), "rms_norm_eps is nan; expected a number"),
        (_set("rms_norm_eps", value=10**400), "expected a number of at least 1e-12"),
        (
            _set("partial_rotary_factor", value=1e308),
            r"partial_rotary_factor is 1e\+308; expected a number from 1e-12 to 1",
        ),
        (_set("original_max_position_embeddings", value=1), "original_max_position_embeddings is 1; expected a whole"),
        (_set("x" * 10_000, value=1), f"unknown key {'x' * 60}; remove it if it has no effect"),
        (_set("hidden_size", value=3071), "must be a multiple of num_attention_heads 24"),
        (_set("num_key_value_heads", value=7), "must be a multiple of num_key_value_heads 7"),
        (_set("rope_scaling", "long_factor", value=[1.0]), "need 48 numbers each"),
        (_set("rope_scaling", "type", value="yarn"), "type is 'yarn'; phi4mm implements only 'longrope'"),
        (_set("rope_scaling", value=[]), r"rope_scaling is \[\]; expected an object"),
        (_set("mlp_bias", value=True), "mlp_bias is True; phi4mm implements only False"),
        (_set("embd_layer", "image_embd_layer", "crop_size", value=336), "crop_size is 336"),
        (_set("vision_config", "patch_size", value=13), "even number of patches"),
        (_set("audio_processor", "config", "chunk_size", value=18), "chunk_size is 18; phi4mm implements only -1"),
        (_set("model_type", value="phi3"), "model_type is 'phi3'; phi4mm implements only 'phi4mm'"),
    ],
)
def test_a_wrong_file_names_field_value_and_what_was_expected(
    published: dict[str, Any], change: Callable[[dict[str, Any]], None], message: str
) -> None:
    """A config that is misread silently gives another model."""
    change(published)
    with pytest.raises(ConfigError, match=message):
        from_original(published)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "not found"), (b"{", "cannot be read as JSON"), (b"[1]", "holds a list"), (b"\xff", "cannot be read")],
)
def test_a_file_that_is_not_a_json_object_is_named_in_the_error(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    """The user may have given any folder."""
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path)


def test_a_deeply_nested_file_is_an_error_and_not_a_crash(tmp_path: Path) -> None:
    """The JSON parser is recursive."""
    (tmp_path / "config.json").write_text("[" * 200_000)
    with pytest.raises(ConfigError, match="cannot be read as JSON"):
        load_config(tmp_path)


def test_known_keys_without_effect_are_accepted(published: dict[str, Any]) -> None:
    """The published file has bookkeeping of libraries, which has no effect."""
    published |= {"auto_map": {"AutoConfig": "x.y"}, "transformers_version": "4.46.1", "_name_or_path": "p"}
    assert from_original(published) == from_original(json.loads((GOLDEN / "published.json").read_text()))


@pytest.mark.parametrize(("key", "value"), [("alpha_pattern", {"o_proj": 8}), ("use_rslora", True), ("bias", "all")])
def test_an_adapter_that_is_not_a_plain_lora_is_refused(published: dict[str, Any], key: str, value: object) -> None:
    """Otherwise its scaling would be wrong without an error."""
    raw, adapters = to_transformers(from_original(published))
    adapters["vision"][key] = value
    with pytest.raises(ConfigError, match=f"vision adapter_config.json: {key} is .*; phi4mm implements only"):
        from_transformers(raw, adapters)
