"""`config.json` of either layout, read strictly and written back.

The original layout is the published one (`model_type` phi4mm); the transformers layout is that of transformers' own
class (phi4_multimodal), whose two adapters live in folders `vision-lora` and `speech-lora`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from phi4mm.config import (
    ADAPTER_FOLDERS,
    CONV_STRIDE,
    PUBLISHED_VISION,
    AdapterConfig,
    AudioConfig,
    Phi4MMConfig,
    RopeConfig,
    TextConfig,
    VisionConfig,
    checked,
)
from phi4mm.config_fields import Fields
from phi4mm.errors import ConfigError

MAX_CONFIG_BYTES = 4 << 20


def load_config(folder: Path) -> Phi4MMConfig:
    """Read `folder/config.json`, and the adapters' own files in the transformers layout. Raises ConfigError."""
    raw = read_json(folder / "config.json")
    if raw.get("model_type") != "phi4_multimodal":
        return from_original(raw)
    adapters = {
        name: read_json(folder / sub / "adapter_config.json")
        for name, sub in ADAPTER_FOLDERS.items()
        if (folder / sub).is_dir()
    }
    return from_transformers(raw, adapters)


def read_json(path: Path) -> dict[str, Any]:
    """One JSON object from a small file. Raises ConfigError that names the file."""
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path.name} has {path.stat().st_size} bytes; expected at most {MAX_CONFIG_BYTES}")
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} not found; expected a model folder with {path.name} in it") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path} holds a {type(value).__name__}; expected a JSON object")
    return value


def from_original(raw: dict[str, Any]) -> Phi4MMConfig:
    """From the published layout's config.json."""
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
    vision = _vision(top.section("vision_config")) if "vision_config" in raw else PUBLISHED_VISION
    crop = image.integer("crop_size")
    if crop != vision.image_size:
        raise ConfigError(f"image_embd_layer.crop_size is {crop}; expected the tower's image size {vision.image_size}")
    config = Phi4MMConfig(
        text=_text(top, rope, top),
        vision=vision,
        audio=audio,
        vision_lora=_original_lora(top.section("vision_lora")),
        speech_lora=_original_lora(top.section("speech_lora")),
        bos_token_id=top.integer("bos_token_id", low=0),
        eos_token_ids=top.integers("eos_token_id"),
        pad_token_id=top.integer("pad_token_id", low=0),
        dtype=top.text("torch_dtype"),
        layout="original",
    )
    top.finish(ignored=_ORIGINAL_IGNORED)
    return checked(config)


def from_transformers(raw: dict[str, Any], adapters: dict[str, dict[str, Any]]) -> Phi4MMConfig:
    """From the transformers layout's config.json and its adapters' adapter_config.json, by adapter name."""
    top = Fields(raw, "config.json")
    top.expect("model_type", "phi4_multimodal")
    for name, only in _TRANSFORMERS_FIXED.items():
        top.expect(name, only, optional=True)
    rope = top.section("rope_parameters" if "rope_parameters" in raw else "rope_scaling")
    rope.expect("rope_type" if "rope_type" in rope else "type", "longrope")
    rope.expect("original_max_position_embeddings", raw.get("original_max_position_embeddings"), optional=True)
    vision = top.section("vision_config")
    for name, only in _TRANSFORMERS_VISION_FIXED.items():
        vision.expect(name, only, optional=True)
    vision.expect("crop_size", vision.raw.get("image_size"))
    audio = top.section("audio_config")
    for name, only in _TRANSFORMERS_AUDIO_FIXED.items():
        audio.expect(name, only, optional=True)
    loras = {name: _peft_lora(Fields(value, f"{name} adapter_config.json")) for name, value in adapters.items()}
    config = Phi4MMConfig(
        text=_text(top, rope, rope if "rope_theta" in rope else top),
        vision=_vision(vision),
        audio=AudioConfig(
            hidden_size=audio.integer("hidden_size"),
            intermediate_size=audio.integer("intermediate_size"),
            num_blocks=audio.integer("num_blocks"),
            num_heads=audio.integer("num_attention_heads"),
            input_size=audio.integer("input_size"),
            conv_channels=audio.integer("nemo_conv_channels"),
            kernel_size=audio.integer("kernel_size"),
            bias_max_distance=audio.integer("bias_max_distance"),
        ),
        vision_lora=loras.get("vision"),
        speech_lora=loras.get("speech"),
        bos_token_id=top.integer("bos_token_id", low=0),
        eos_token_ids=top.integers("eos_token_id"),
        pad_token_id=top.integer("pad_token_id", low=0),
        dtype=top.text("dtype" if "dtype" in raw else "torch_dtype")
        if {"dtype", "torch_dtype"} & set(raw)
        else "bfloat16",
        layout="transformers",
    )
    top.finish(ignored=_TRANSFORMERS_IGNORED)
    return checked(config)


def to_original(config: Phi4MMConfig) -> dict[str, Any]:
    """The original layout's config.json; `from_original` reads it back to an equal value."""
    text, rope, audio, vision = config.text, config.text.rope, config.audio, config.vision
    if config.vision_lora is None or config.speech_lora is None:
        raise ConfigError(
            "this model lacks an adapter; the original layout holds both, convert to transformers instead"
        )
    return {
        "architectures": ["Phi4MMForCausalLM"],
        "model_type": "phi4mm",
        **_ORIGINAL_FIXED,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": _one_or_list(config.eos_token_ids),
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
        **_text_fields(text),
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
        "vision_config": _vision_dict(vision),
    }


def to_transformers(config: Phi4MMConfig) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The transformers layout's config.json, and adapter_config.json by adapter name."""
    text, rope, audio = config.text, config.text.rope, config.audio
    loras = {"vision": config.vision_lora, "speech": config.speech_lora}
    raw = {
        "architectures": ["Phi4MultimodalForCausalLM"],
        "model_type": "phi4_multimodal",
        **_TRANSFORMERS_FIXED,
        **_text_fields(text),
        "bos_token_id": config.bos_token_id,
        "eos_token_id": _one_or_list(config.eos_token_ids),
        "pad_token_id": config.pad_token_id,
        "dtype": config.dtype,
        "rope_parameters": {
            "rope_type": "longrope",
            "short_factor": list(rope.short_factor),
            "long_factor": list(rope.long_factor),
            "rope_theta": rope.theta,
            "partial_rotary_factor": rope.rotary_dim / text.head_dim,
            "original_max_position_embeddings": rope.original_max_positions,
        },
        "vision_config": {
            "model_type": "phi4_multimodal_vision",
            **_TRANSFORMERS_VISION_FIXED,
            **_vision_dict(config.vision),
            "crop_size": config.vision.image_size,
        },
        "audio_config": {
            "model_type": "phi4_multimodal_audio",
            **_TRANSFORMERS_AUDIO_FIXED,
            "hidden_size": audio.hidden_size,
            "intermediate_size": audio.intermediate_size,
            "num_blocks": audio.num_blocks,
            "num_attention_heads": audio.num_heads,
            "ext_pw_out_channel": audio.hidden_size,
            "depthwise_separable_out_channel": audio.hidden_size,
            "input_size": audio.input_size,
            "nemo_conv_channels": audio.conv_channels,
            "kernel_size": audio.kernel_size,
            "bias_max_distance": audio.bias_max_distance,
        },
    }
    return raw, {name: _peft_dict(lora) for name, lora in loras.items() if lora is not None}


def _text(top: Fields, rope: Fields, rope_facts: Fields) -> TextConfig:
    """`rope_facts` is the section that says theta and the partial factor: newer files keep them with the factors."""
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
            rotary_dim=int(hidden // heads * rope_facts.number("partial_rotary_factor")),
            short_factor=rope.numbers("short_factor"),
            long_factor=rope.numbers("long_factor"),
            original_max_positions=top.integer("original_max_position_embeddings"),
            max_positions=top.integer("max_position_embeddings"),
        ),
    )


def _text_fields(text: TextConfig) -> dict[str, Any]:
    """The decoder's keys that both layouts spell alike."""
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


def _vision(fields: Fields) -> VisionConfig:
    return VisionConfig(
        hidden_size=fields.integer("hidden_size"),
        intermediate_size=fields.integer("intermediate_size"),
        num_layers=fields.integer("num_hidden_layers"),
        num_heads=fields.integer("num_attention_heads"),
        image_size=fields.integer("image_size"),
        patch_size=fields.integer("patch_size"),
    )


def _vision_dict(vision: VisionConfig) -> dict[str, Any]:
    return {
        "hidden_size": vision.hidden_size,
        "intermediate_size": vision.intermediate_size,
        "num_attention_heads": vision.num_heads,
        "num_hidden_layers": vision.num_layers,
        "image_size": vision.image_size,
        "patch_size": vision.patch_size,
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
    fields.text("layer")  # the regular expression always names the decoder's four projections (model.md 1.3)
    return AdapterConfig(
        rank=fields.integer("r"), alpha=fields.number("lora_alpha"), dropout=fields.number("dp", low=0.0)
    )


def _lora_dict(lora: AdapterConfig, layer: str) -> dict[str, Any]:
    return {"dp": lora.dropout, "layer": layer, "lora_alpha": lora.alpha, "r": lora.rank}


def _peft_lora(fields: Fields) -> AdapterConfig:
    for name, only in _PEFT_FIXED.items():
        fields.expect(name, only, optional=True)
    return AdapterConfig(
        rank=fields.integer("r"), alpha=fields.number("lora_alpha"), dropout=fields.number("lora_dropout", low=0.0)
    )


def _peft_dict(lora: AdapterConfig) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "bias": "none",
        "target_modules": r"model\.layers\.\d+\.(self_attn\.(qkv_proj|o_proj)|mlp\.(gate_up_proj|down_proj))",
    }


def _one_or_list(ids: tuple[int, ...]) -> int | list[int]:
    return ids[0] if len(ids) == 1 else list(ids)


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
_TRANSFORMERS_FIXED: dict[str, Any] = {"hidden_act": "silu", "tie_word_embeddings": True}
_TRANSFORMERS_VISION_FIXED: dict[str, Any] = {
    "feature_layer": -2,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
    "num_channels": 3,
}
_TRANSFORMERS_AUDIO_FIXED: dict[str, Any] = {
    "activation": "swish",
    "bias_symmetric": False,
    "chunk_size": -1,
    "conv_activation": "swish",
    "conv_glu_type": "swish",
    "depthwise_multiplier": 1,
    "downsample_rate": 1,
    "nemo_activation": "relu",
    "time_reduction": CONV_STRIDE,
}
_LORA_TARGETS = {
    "vision": r"layers.*((self_attn\.(qkv_proj|o_proj))|(mlp\.(gate_up|down)_proj))",
    "speech": r"((layers.*self_attn\.(qkv|o)_proj)|(layers.*mlp\.(gate_up|down)_proj))",
}
# Known keys that change nothing that phi4mm computes: training knobs, library bookkeeping, and what is always off.
_ORIGINAL_IGNORED = frozenset(
    "_attn_implementation _attn_implementation_autoset _name_or_path activation_checkpointing architectures"
    " attention_dropout auto_map dropout_rate embd_pdrop enable_gradient_checkpointing freeze_img_processor"
    " initializer_range left_chunk resid_pdrop sliding_window transformers_version use_cache".split()
)
_TRANSFORMERS_IGNORED = frozenset(
    "_attn_implementation _name_or_path architectures attention_dropout audio_token_id base_model_name_or_path"
    " depthwise_separable_out_channel dropout_rate dtype embd_pdrop ext_pw_out_channel factor feature_layer"
    " image_token_id initializer_range left_chunk model_type nemo_final_size partial_rotary_factor resid_pdrop"
    " rope_theta sliding_window torch_dtype transformers_version use_cache".split()
)
# What PEFT writes for a plain LoRA; its other keys are bookkeeping. Another value would be another adapter.
_PEFT_FIXED: dict[str, Any] = {
    "alpha_pattern": {},
    "bias": "none",
    "fan_in_fan_out": False,
    "layer_replication": None,
    "lora_bias": False,
    "modules_to_save": None,
    "peft_type": "LORA",
    "rank_pattern": {},
    "use_dora": False,
    "use_rslora": False,
}
