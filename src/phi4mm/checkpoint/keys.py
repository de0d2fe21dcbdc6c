"""Tensor names of both layouts, original and transformers, for each of phi4mm's parameters.

The first row of `_TABLE` whose left column is a prefix of a name gives that name in both layouts; `{}` is a layer
number. The values of a tensor are the same in all three: none is permuted or transposed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from phi4mm.config.model import Layout
from phi4mm.protocol.inputs import Adapter

_EMBED = "model.embed_tokens_extend."
_TOWER = _EMBED + "image_embed.img_processor."
_AUDIO = _EMBED + "audio_embed."
_ENCODER = _AUDIO + "encoder."
_DECODER_LINEARS = ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")

# Columns: phi4mm, original, transformers. None in the last one: the tensor is in an adapter folder.
_TABLE: tuple[tuple[str, str, str | None], ...] = (
    *(
        row
        for name in _DECODER_LINEARS
        for row in (
            (
                f"text.layers.{{}}.{name}.weight",
                f"model.layers.{{}}.{name}.base_layer.weight",
                f"model.layers.{{}}.{name}.weight",
            ),
            *(
                (f"text.layers.{{}}.{name}.lora_{x}.{a}", f"model.layers.{{}}.{name}.lora_{x.upper()}.{a}.weight", None)
                for x in "ab"
                for a in ("vision", "speech")
            ),
        )
    ),
    ("text.", "model.", "model."),
    ("image.tower.patch_embedding.", _TOWER + "embeddings.patch_embedding.", _TOWER + "embeddings.patch_embedding."),
    (
        "image.tower.position_embedding.",
        _TOWER + "embeddings.position_embedding.",
        _TOWER + "embeddings.position_embedding.",
    ),
    ("image.tower.layers.", _TOWER + "encoder.layers.", _TOWER + "encoder.layers."),
    ("image.tower.", _TOWER, _TOWER),
    ("image.projection.0.", _EMBED + "image_embed.img_projection.0.", _EMBED + "image_embed.img_projection_up."),
    ("image.projection.2.", _EMBED + "image_embed.img_projection.2.", _EMBED + "image_embed.img_projection_down."),
    ("image.global_separator", _EMBED + "image_embed.glb_GN", _EMBED + "image_embed.global_img_feature_extensor"),
    ("image.row_separator", _EMBED + "image_embed.sub_GN", _EMBED + "image_embed.sub_img_feature_extensor"),
    ("audio.encoder.mean", _ENCODER + "encoder_embedding.global_mean", _ENCODER + "encoder_embedding.global_mean"),
    (
        "audio.encoder.invstd",
        _ENCODER + "encoder_embedding.global_invstd",
        _ENCODER + "encoder_embedding.global_invstd",
    ),
    ("audio.encoder.subsampling.", _ENCODER + "embed.", _ENCODER + "embed."),
    (
        "audio.encoder.relative_bias.",
        _ENCODER + "relative_attention_bias_layer.bias_values.",
        _ENCODER + "relative_attention_bias_layer.bias_values.",
    ),
    *(
        row
        for side in ("in", "out")
        for row in (
            (
                f"audio.encoder.blocks.{{}}.feed_forward_{side}.up_gate_proj.",
                f"{_ENCODER}encoders.{{}}.feed_forward_{side}.net.0.linear.",
                f"{_ENCODER}encoders.{{}}.feed_forward_{side}.gate_up_proj.",
            ),
            (
                f"audio.encoder.blocks.{{}}.feed_forward_{side}.down_proj.",
                f"{_ENCODER}encoders.{{}}.feed_forward_{side}.net.2.",
                f"{_ENCODER}encoders.{{}}.feed_forward_{side}.down_proj.",
            ),
        )
    ),
    *(
        (
            f"audio.encoder.blocks.{{}}.self_attn.{ours}_proj.",
            f"{_ENCODER}encoders.{{}}.self_attn.linear_{theirs}.",
            f"{_ENCODER}encoders.{{}}.self_attn.{ours}_proj.",
        )
        for ours, theirs in (("q", "q"), ("k", "k"), ("v", "v"), ("o", "out"))
    ),
    *(
        (
            f"audio.encoder.blocks.{{}}.conv.{ours}",
            f"{_ENCODER}encoders.{{}}.conv.{theirs}",
            f"{_ENCODER}encoders.{{}}.conv.{theirs}",
        )
        for ours, theirs in (
            ("gate_conv.", "glu.ext_pw_conv_1d."),
            ("gate_b1", "glu.b1"),
            ("gate_b2", "glu.b2"),
            ("depthwise.", "dw_sep_conv_1d.dw_conv."),
            ("pointwise.", "dw_sep_conv_1d.pw_conv."),
            ("out_conv.", "ext_pw_conv_1d."),
        )
    ),
    ("audio.encoder.blocks.", _ENCODER + "encoders.", _ENCODER + "encoders."),
    *(
        (f"audio.projection.{name}.{n}.", f"{_AUDIO}audio_projection.{name}.{n}.", f"{_AUDIO}{word}_proj_for_{native}.")
        for name, native in (("speech", "speech"), ("vision", "vision_speech"))
        for n, word in ((0, "up"), (2, "down"))
    ),
)
# The transformers layout may store the tied head too, which equals the embedding.
KNOWN_AND_IGNORED = frozenset({"lm_head.weight"})


@dataclass(frozen=True)
class StoredName:
    """Where a parameter is stored: its tensor name, and its adapter folder or None."""

    name: str
    adapter: Adapter | None = None


def stored_name(parameter: str, layout: Layout) -> StoredName:
    """Where a layout stores one of phi4mm's parameters."""
    for pattern, original, native in _rows():
        match = pattern.match(parameter)
        if match:
            if layout == "transformers" and native is None:
                return _adapter_name(parameter)
            name = original if layout == "original" else str(native)
            return StoredName(name.format(*match.groups()) + parameter[match.end() :])
    raise AssertionError(f"{parameter} has no row in the table of names")


def _adapter_name(parameter: str) -> StoredName:
    """text.layers.N.M.lora_a.vision -> model.layers.N.M.lora_A.weight in the folder of that adapter."""
    stem, side, adapter = parameter.rsplit(".", 2)
    assert adapter in ("vision", "speech")
    name = f"model.{stem.removeprefix('text.')}.{'lora_A' if side == 'lora_a' else 'lora_B'}.weight"
    return StoredName(name, "vision" if adapter == "vision" else "speech")


@cache
def _rows() -> tuple[tuple[re.Pattern[str], str, str | None], ...]:
    return tuple((re.compile(re.escape(row[0]).replace(r"\{\}", r"(\d+)")), *row[1:]) for row in _TABLE)
