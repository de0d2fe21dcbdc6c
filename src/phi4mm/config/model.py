"""The configuration of a model. No field has a default: all are read from a checkpoint by `config.load`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from phi4mm.errors import ConfigError

Layout: TypeAlias = Literal["original", "transformers"]
ADAPTER_FOLDERS = {"vision": "vision-lora", "speech": "speech-lora"}
CONV_STRIDE = 8  # frames per token: three convolutions of stride 2


@dataclass(frozen=True)
class RopeConfig:
    """LongRoPE: a factor for each rotated pair. `short_factor` is for up to `original_max_positions` tokens."""

    theta: float
    rotary_dim: int
    short_factor: tuple[float, ...]
    long_factor: tuple[float, ...]
    original_max_positions: int
    max_positions: int

    @property
    def attention_scale(self) -> float:
        """What cos and sin are multiplied by, with the short and the long factors alike.

        It is sqrt(1 + ln(max_positions / original_max_positions) / ln(original_max_positions)).
        """
        ratio = self.max_positions / self.original_max_positions
        return 1.0 if ratio <= 1 else math.sqrt(1 + math.log(ratio) / math.log(self.original_max_positions))


@dataclass(frozen=True)
class TextConfig:
    """The decoder."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    rms_norm_eps: float
    rope: RopeConfig

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.hidden_size // self.num_heads


@dataclass(frozen=True)
class VisionConfig:
    """The image tower. `image_size` is the side of a crop in pixels."""

    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    image_size: int
    patch_size: int

    @property
    def patches_per_side(self) -> int:
        """Patches along a crop's side."""
        return self.image_size // self.patch_size


# The published config.json does not describe its image tower, which is SigLIP so400m with 448 px and patches of 14.
PUBLISHED_VISION = VisionConfig(
    hidden_size=1152, intermediate_size=4304, num_layers=27, num_heads=16, image_size=448, patch_size=14
)


@dataclass(frozen=True)
class AudioConfig:
    """The audio encoder."""

    hidden_size: int
    intermediate_size: int
    num_blocks: int
    num_heads: int
    input_size: int
    conv_channels: int
    kernel_size: int
    bias_max_distance: int


@dataclass(frozen=True)
class AdapterConfig:
    """A LoRA on the four linear layers of all decoder layers."""

    rank: int
    alpha: float
    dropout: float

    @property
    def scaling(self) -> float:
        """The factor of B(A(x))."""
        return self.alpha / self.rank


@dataclass(frozen=True)
class Phi4MMConfig:
    """A whole model. An adapter is None where a checkpoint of the transformers layout does not have it."""

    text: TextConfig
    vision: VisionConfig
    audio: AudioConfig
    vision_lora: AdapterConfig | None
    speech_lora: AdapterConfig | None
    bos_token_id: int
    eos_token_ids: tuple[int, ...]
    pad_token_id: int
    dtype: str
    layout: Layout


def checked(config: Phi4MMConfig) -> Phi4MMConfig:
    """Return `config` if its sizes fit each other. Raises ConfigError, before anything is allocated."""
    text, vision, audio = config.text, config.vision, config.audio
    pairs = text.rope.rotary_dim // 2
    rules = {
        f"hidden_size {text.hidden_size} must be a multiple of num_attention_heads {text.num_heads}": (
            text.hidden_size % text.num_heads == 0
        ),
        f"num_attention_heads {text.num_heads} must be a multiple of num_key_value_heads {text.num_kv_heads}": (
            text.num_heads % text.num_kv_heads == 0
        ),
        f"short_factor and long_factor need {pairs} numbers each, one for each rotated pair": (
            len(text.rope.short_factor) == len(text.rope.long_factor) == pairs and text.rope.rotary_dim % 2 == 0
        ),
        f"vision image_size {vision.image_size} must be an even number of patches of {vision.patch_size}": (
            vision.image_size % (2 * vision.patch_size) == 0
        ),
        f"vision hidden_size {vision.hidden_size} must be a multiple of its heads {vision.num_heads}": (
            vision.hidden_size % vision.num_heads == 0
        ),
        "vision num_hidden_layers must be at least 2: features come from the last but one": vision.num_layers >= 2,
        f"audio attention_dim {audio.hidden_size} must be a multiple of its heads {audio.num_heads}": (
            audio.hidden_size % audio.num_heads == 0
        ),
        f"audio input_size {audio.input_size} must be a multiple of {CONV_STRIDE}": audio.input_size % CONV_STRIDE == 0,
    }
    for message, holds in rules.items():
        if not holds:
            raise ConfigError(f"config.json: {message}")
    return config
