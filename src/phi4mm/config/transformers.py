"""Read and write the `config.json` of transformers' class (`model_type` phi4_multimodal).

Its two adapters are in the folders `vision-lora` and `speech-lora`, each with PEFT's `adapter_config.json`.
"""

from __future__ import annotations

from typing import Any

from phi4mm.config.fields import Fields
from phi4mm.config.model import CONV_STRIDE, AdapterConfig, AudioConfig, Phi4MMConfig, checked
from phi4mm.config.sections import one_or_list, read_dtype, read_text, read_vision, text_fields, write_vision


def from_transformers(raw: dict[str, Any], adapters: dict[str, dict[str, Any]]) -> Phi4MMConfig:
    """Read the config.json of the transformers layout and adapter_config.json by adapter name. Raises ConfigError."""
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
        text=read_text(top, rope, rope if "rope_theta" in rope else top),
        vision=read_vision(vision),
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
        dtype=read_dtype(top),
        layout="transformers",
    )
    top.finish(ignored=_TRANSFORMERS_IGNORED)
    return checked(config)


def to_transformers(config: Phi4MMConfig) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The config.json of the transformers layout, and adapter_config.json by adapter name."""
    text, rope, audio = config.text, config.text.rope, config.audio
    loras = {"vision": config.vision_lora, "speech": config.speech_lora}
    raw = {
        "architectures": ["Phi4MultimodalForCausalLM"],
        "model_type": "phi4_multimodal",
        **_TRANSFORMERS_FIXED,
        **text_fields(text),
        "bos_token_id": config.bos_token_id,
        "eos_token_id": one_or_list(config.eos_token_ids),
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
            **write_vision(config.vision),
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


def _peft_lora(fields: Fields) -> AdapterConfig:
    for name, only in PEFT_FIXED.items():
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
_TRANSFORMERS_IGNORED = frozenset(
    "_attn_implementation _name_or_path architectures attention_dropout audio_token_id base_model_name_or_path"
    " depthwise_separable_out_channel dropout_rate dtype embd_pdrop ext_pw_out_channel factor feature_layer"
    " image_token_id initializer_range left_chunk model_type nemo_final_size partial_rotary_factor resid_pdrop"
    " rope_theta sliding_window torch_dtype transformers_version use_cache".split()
)
# What PEFT writes for a plain LoRA. Other values are for other kinds of adapter; other keys are bookkeeping.
PEFT_FIXED: dict[str, Any] = {
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
