"""The whole model: decoder, image embedder, audio embedder.

N wanted logits, D model width, V vocabulary.
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
    """Phi-4-multimodal. Towers that are left out are None."""

    def __init__(
        self,
        config: Phi4MMConfig,
        adapters: tuple[Adapter, ...] = ("vision", "speech"),
        towers: tuple[Tower, ...] | None = None,
    ) -> None:
        """Uninitialised weights.

        adapters  those of the config that are built, `vision` and `speech`; others come by `add_adapter`
        towers    the embedders that are built; None for those whose input runs with `adapters` by default
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
        """Add a LoRA under a name of its own: copies of its matrices on the model's device.

        They take the model's dtype, or are packed where the base weight is, as quantization packs the built-in ones.
        Projections and layers that it does not cover run without it.

        trainable  keep the matrices as parameters that ask for gradients, over packed base weights too
        raises     ConfigError that lists every problem: a name in use or of other characters, unknown layers or
                   projections, wrong shapes
        """
        self.text.add_adapter(name, weights, trainable=trainable)

    def remove_adapter(self, name: Adapter) -> None:
        """Forget an adapter and free its matrices. Raises ConfigError for an unknown name."""
        self.text.remove_adapter(name)


def default_towers(adapters: tuple[Adapter, ...]) -> tuple[Tower, ...]:
    """What the built-in adapters' input needs: images run with `vision`, and audio beside an image too."""
    if "vision" in adapters:
        return "image", "audio"
    return ("audio",) if adapters else ()
