"""Read and write the `config.json` of the original layout, the published one (`model_type` phi4mm)."""

from __future__ import annotations

from typing import Any

from phi4mm.config.fields import Fields
from phi4mm.config.model import CONV_STRIDE, PUBLISHED_VISION, AdapterConfig, AudioConfig, Phi4MMConfig, checked
from phi4mm.config.sections import one_or_list, read_dtype, read_text, read_vision, text_fields, write_vision
from phi4mm.errors import ConfigError


def from_original(raw: dict[str, Any]) -> Phi4MMConfig:
    """Read the config.json of the original layout. Raises ConfigError."""
    top = Fields(raw, "config.json")
    top.expect("model_type", "phi4mm")
    for name, only in _ORIGINAL_FIXED.items():
        top.expect(name, only, optional=True)
    rope = top.section("rope_scaling")
    rope.expect("type", "longrope")
    embed = top.section("embd_layer")
    image = embed.section("image_embd_layer")
    for name, only in _IMAGE_EMBED_FIXED.items():
        image.expect(name, only)
    speech = embed.section("audio_embd_layer")
    for name, only in _AUDIO_EMBED_FIXED.items():
        speech.expect(name, only)
    embed.expect("embedding_cls", "image_audio")
    processor = top.section("audio_processor")
    processor.expect("name", "cascades")
    audio = _original_audio(processor.section("config"))
    vision = read_vision(top.section("vision_config")) if "vision_config" in raw else PUBLISHED_VISION
    crop = image.integer("crop_size")
    if crop != vision.image_size:
        raise ConfigError(f"image_embd_layer.crop_size is {crop}; expected the tower's image size {vision.image_size}")
    config = Phi4MMConfig(
        text=read_text(top, rope, top),
        vision=vision,
        audio=audio,
        vision_lora=_original_lora(top.section("vision_lora")),
        speech_lora=_original_lora(top.section("speech_lora")),
        bos_token_id=top.integer("bos_token_id", low=0),
        eos_token_ids=top.integers("eos_token_id"),
        pad_token_id=top.integer("pad_token_id", low=0),
        dtype=read_dtype(top),
        layout="original",
    )
    top.finish(ignored=_ORIGINAL_IGNORED)
    return checked(config)


def to_original(config: Phi4MMConfig) -> dict[str, Any]:
    """The config.json of the original layout, from which `from_original` reads an equal value. Raises ConfigError."""
    text, rope, audio, vision = config.text, config.text.rope, config.audio, config.vision
    if config.vision_lora is None or config.speech_lora is None:
        raise ConfigError(
            "this model lacks an adapter; the original layout needs both, convert to transformers instead"
        )
    return {
        "architectures": ["Phi4MMForCausalLM"],
        "model_type": "phi4mm",
        **_ORIGINAL_FIXED,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": one_or_list(config.eos_token_ids),
        "pad_token_id": config.pad_token_id,
        "embd_layer": {
            "embedding_cls": "image_audio",
            "image_embd_layer": {"crop_size": vision.image_size, **_IMAGE_EMBED_FIXED},
            "audio_embd_layer": dict(_AUDIO_EMBED_FIXED),
        },
        "audio_processor": {
            "name": "cascades",
            "config": {
                **_ORIGINAL_AUDIO_FIXED,
                "attention_dim": audio.hidden_size,
                "attention_heads": audio.num_heads,
                "depthwise_seperable_out_channel": audio.hidden_size,
                "ext_pw_out_channel": audio.hidden_size,
                "encoder_embedding_config": {"input_size": audio.input_size},
                "input_size": audio.input_size,
                "kernel_size": audio.kernel_size,
                "linear_units": audio.intermediate_size,
                "nemo_conv_settings": {"conv_channels": audio.conv_channels},
                "num_blocks": audio.num_blocks,
                "relative_attention_bias_args": {"t5_bias_max_distance": audio.bias_max_distance, "type": "t5"},
            },
        },
        **text_fields(text),
        "partial_rotary_factor": rope.rotary_dim / text.head_dim,
        "rope_scaling": {
            "type": "longrope",
            "short_factor": list(rope.short_factor),
            "long_factor": list(rope.long_factor),
        },
        "rope_theta": rope.theta,
        "torch_dtype": config.dtype,
        "vision_lora": _lora_dict(config.vision_lora, _LORA_TARGETS["vision"]),
        "speech_lora": _lora_dict(config.speech_lora, _LORA_TARGETS["speech"]),
        "vision_config": write_vision(vision),
    }


def _original_audio(fields: Fields) -> AudioConfig:
    for name, only in _ORIGINAL_AUDIO_FIXED.items():
        fields.expect(name, only)
    hidden = fields.integer("attention_dim")
    fields.expect("depthwise_seperable_out_channel", hidden)
    fields.expect("ext_pw_out_channel", hidden)
    fields.expect("encoder_embedding_config", {"input_size": fields.raw.get("input_size")})
    bias = fields.section("relative_attention_bias_args")
    bias.expect("type", "t5")
    return AudioConfig(
        hidden_size=hidden,
        intermediate_size=fields.integer("linear_units"),
        num_blocks=fields.integer("num_blocks"),
        num_heads=fields.integer("attention_heads"),
        input_size=fields.integer("input_size"),
        conv_channels=fields.section("nemo_conv_settings").integer("conv_channels"),
        kernel_size=fields.integer("kernel_size"),
        bias_max_distance=bias.integer("t5_bias_max_distance"),
    )


def _original_lora(fields: Fields) -> AdapterConfig:
    fields.text("layer")  # a regular expression, always for the decoder's four linear layers
    return AdapterConfig(
        rank=fields.integer("r"), alpha=fields.number("lora_alpha"), dropout=fields.number("dp", low=0.0)
    )


def _lora_dict(lora: AdapterConfig, layer: str) -> dict[str, Any]:
    return {"dp": lora.dropout, "layer": layer, "lora_alpha": lora.alpha, "r": lora.rank}


_ORIGINAL_FIXED: dict[str, Any] = {
    "attention_bias": False,
    "full_attn_mod": 1,
    "hidden_act": "silu",
    "interpolate_factor": 1,
    "lm_head_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": True,
}
_IMAGE_EMBED_FIXED: dict[str, Any] = {
    "embedding_cls": "tune_image",
    "hd_transform_order": "sub_glb",
    "image_token_compression_cls": "avg_pool_2d",
    "projection_cls": "mlp",
    "use_hd_transform": True,
    "with_learnable_separator": True,
}
_AUDIO_EMBED_FIXED: dict[str, Any] = {
    "compression_rate": CONV_STRIDE,
    "downsample_rate": 1,
    "embedding_cls": "audio",
    "projection_cls": "mlp",
    "use_conv_downsample": False,
    "use_qformer": False,
}
_ORIGINAL_AUDIO_FIXED: dict[str, Any] = {
    "activation": "swish",
    "batch_norm": False,
    "bias_in_glu": True,
    "causal": True,
    "chunk_size": -1,
    "cnn_layer_norm": True,
    "conv_activation": "swish",
    "conv_glu_type": "swish",
    "depthwise_multiplier": 1,
    "ext_pw_kernel_size": 1,
    "input_layer": "nemo_conv",
    "time_reduction": CONV_STRIDE,
}
_LORA_TARGETS = {
    "vision": r"layers.*((self_attn\.(qkv_proj|o_proj))|(mlp\.(gate_up|down)_proj))",
    "speech": r"((layers.*self_attn\.(qkv|o)_proj)|(layers.*mlp\.(gate_up|down)_proj))",
}
# Known keys without effect on results: settings for training, bookkeeping of libraries, and what is always off.
_ORIGINAL_IGNORED = frozenset(
    "_attn_implementation _attn_implementation_autoset _name_or_path activation_checkpointing architectures"
    " attention_dropout auto_map dropout_rate dtype embd_pdrop enable_gradient_checkpointing freeze_img_processor"
    " initializer_range left_chunk resid_pdrop sliding_window torch_dtype transformers_version use_cache".split()
)
