"""The sections of config.json that are the same in both layouts."""

from __future__ import annotations

from typing import Any

from phi4mm.config.fields import Fields
from phi4mm.config.model import RopeConfig, TextConfig, VisionConfig


def read_text(top: Fields, rope: Fields, rope_facts: Fields) -> TextConfig:
    """`rope_facts` is the section with theta and the partial factor: newer files have them beside the factors."""
    hidden, heads = top.integer("hidden_size"), top.integer("num_attention_heads")
    return TextConfig(
        vocab_size=top.integer("vocab_size"),
        hidden_size=hidden,
        intermediate_size=top.integer("intermediate_size"),
        num_layers=top.integer("num_hidden_layers"),
        num_heads=heads,
        num_kv_heads=top.integer("num_key_value_heads"),
        rms_norm_eps=top.number("rms_norm_eps"),
        rope=RopeConfig(
            theta=rope_facts.number("rope_theta"),
            rotary_dim=int(hidden // heads * rope_facts.number("partial_rotary_factor", high=1.0)),
            short_factor=rope.numbers("short_factor"),
            long_factor=rope.numbers("long_factor"),
            original_max_positions=top.integer("original_max_position_embeddings", low=2),
            max_positions=top.integer("max_position_embeddings"),
        ),
    )


def text_fields(text: TextConfig) -> dict[str, Any]:
    """The decoder's keys that are the same in both layouts."""
    return {
        "hidden_size": text.hidden_size,
        "intermediate_size": text.intermediate_size,
        "max_position_embeddings": text.rope.max_positions,
        "num_attention_heads": text.num_heads,
        "num_hidden_layers": text.num_layers,
        "num_key_value_heads": text.num_kv_heads,
        "original_max_position_embeddings": text.rope.original_max_positions,
        "rms_norm_eps": text.rms_norm_eps,
        "vocab_size": text.vocab_size,
    }


def read_vision(fields: Fields) -> VisionConfig:
    """Read the image tower's keys, which are the same in both layouts. Raises ConfigError."""
    return VisionConfig(
        hidden_size=fields.integer("hidden_size"),
        intermediate_size=fields.integer("intermediate_size"),
        num_layers=fields.integer("num_hidden_layers"),
        num_heads=fields.integer("num_attention_heads"),
        image_size=fields.integer("image_size"),
        patch_size=fields.integer("patch_size"),
    )


def write_vision(vision: VisionConfig) -> dict[str, Any]:
    """The keys that `read_vision` reads."""
    return {
        "hidden_size": vision.hidden_size,
        "intermediate_size": vision.intermediate_size,
        "num_attention_heads": vision.num_heads,
        "num_hidden_layers": vision.num_layers,
        "image_size": vision.image_size,
        "patch_size": vision.patch_size,
    }


def read_dtype(top: Fields) -> str:
    """From dtype, or torch_dtype in older files. Some have neither; published weights are in bfloat16."""
    name = next((name for name in ("dtype", "torch_dtype") if name in top), None)
    return "bfloat16" if name is None else top.text(name)


def one_or_list(ids: tuple[int, ...]) -> int | list[int]:
    """A single id as a number, several as a list, as in published files."""
    return ids[0] if len(ids) == 1 else list(ids)
