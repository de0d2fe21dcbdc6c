"""The whole model: decoder, image embedder, audio embedder.

N positions whose logits are wanted, V vocabulary.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch import Tensor, nn

from phi4mm.config.model import AdapterConfig, Phi4MMConfig
from phi4mm.model.adapter_weights import AdapterWeights
from phi4mm.model.audio import AudioEmbedder
from phi4mm.model.batch import ForwardBatch
from phi4mm.model.text import TextDecoder
from phi4mm.model.vision import ImageEmbedder
from phi4mm.protocol.inputs import Adapter

Tower: TypeAlias = Literal["image", "audio"]


class Phi4MM(nn.Module):
    """Phi-4-multimodal. `image` and `audio` are None where that tower is left out."""

    def __init__(
        self,
        config: Phi4MMConfig,
        adapters: tuple[Adapter, ...] = ("vision", "speech"),
        towers: tuple[Tower, ...] | None = None,
    ) -> None:
        """Uninitialised weights.

        adapters  which of the config's adapters are built, `vision` and `speech`; `add_adapter` adds others
        towers    which towers are built; None builds those whose input runs with `adapters` by default
        """
        super().__init__()
        loras: dict[Adapter, AdapterConfig] = {}
        if "vision" in adapters and config.vision_lora is not None:
            loras["vision"] = config.vision_lora
        if "speech" in adapters and config.speech_lora is not None:
            loras["speech"] = config.speech_lora
        towers = default_towers(adapters) if towers is None else towers
        width = config.text.hidden_size
        self.config = config
        self.text = TextDecoder(config.text, loras)
        self.image = ImageEmbedder(config.vision, width) if "image" in towers else None
        self.audio = AudioEmbedder(config.audio, width) if "audio" in towers else None

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """Names of the adapters that a sequence may run with."""
        return tuple(self.text.adapters)

    def forward(self, batch: ForwardBatch) -> Tensor:
        """Logits (N, V) at `batch.outputs`. Writes to the sequences' pages."""
        logits: Tensor = self.text(batch)
        return logits

    def add_adapter(self, name: Adapter, weights: AdapterWeights, *, trainable: bool = False) -> None:
        """Add a LoRA under a new name, with copies of its matrices on the model's device.

        They are in the model's dtype, or packed where the base weight is, as quantization packs the built-in adapters.
        Layers and projections that are not among its targets run without it.

        trainable  keep the matrices as parameters that require gradients, over packed base weights too
        raises     ConfigError that lists every problem: a name that is in use or has other characters, unknown layers
                   or projections, wrong shapes
        """
        self.text.add_adapter(name, weights, trainable=trainable)

    def adapter_weights(self, name: Adapter) -> AdapterWeights:
        """The matrices of an adapter, shared with the model. Raises ConfigError for an unknown or a packed one."""
        return self.text.adapter_weights(name)

    def merge_adapter(self, name: Adapter) -> None:
        """Add an adapter to the base weights, in place, and remove it. Raises ConfigError as `adapter_weights` does."""
        self.text.merge_adapter(name)

    def remove_adapter(self, name: Adapter) -> None:
        """Remove an adapter and free its matrices. Raises ConfigError for an unknown name."""
        self.text.remove_adapter(name)


def default_towers(adapters: tuple[Adapter, ...]) -> tuple[Tower, ...]:
    """Towers that the input of these adapters needs; `vision` is for images, with or without audio."""
    if "vision" in adapters:
        return "image", "audio"
    return ("audio",) if adapters else ()
