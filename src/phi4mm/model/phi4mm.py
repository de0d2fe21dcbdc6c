"""The whole model: decoder, image embedder, audio embedder.

T packed tokens, D model width, V vocabulary.
"""

from __future__ import annotations

from torch import Tensor, nn

from phi4mm.config.model import AdapterConfig, Phi4MMConfig
from phi4mm.model.audio import AudioEmbedder
from phi4mm.model.batch import ForwardBatch
from phi4mm.model.text import TextDecoder
from phi4mm.model.vision import ImageEmbedder
from phi4mm.protocol.inputs import Adapter


class Phi4MM(nn.Module):
    """Phi-4-multimodal. Built with what `adapters` needs; parts left out are None.

    vision  image embedder, audio embedder and the vision adapter (a picture may come with speech)
    speech  audio embedder and the speech adapter
    """

    def __init__(self, config: Phi4MMConfig, adapters: tuple[Adapter, ...] = ("vision", "speech")) -> None:
        super().__init__()
        loras: dict[Adapter, AdapterConfig] = {}
        if "vision" in adapters and config.vision_lora is not None:
            loras["vision"] = config.vision_lora
        if "speech" in adapters and config.speech_lora is not None:
            loras["speech"] = config.speech_lora
        width = config.text.hidden_size
        self.config = config
        self.adapters = tuple(loras)
        self.text = TextDecoder(config.text, loras)
        self.image = ImageEmbedder(config.vision, width) if "vision" in adapters else None
        self.audio = AudioEmbedder(config.audio, width) if adapters else None

    def forward(self, batch: ForwardBatch) -> Tensor:
        """Logits (K, V) at `batch.outputs`. Writes to the rows' pages."""
        logits: Tensor = self.text(batch)
        return logits
