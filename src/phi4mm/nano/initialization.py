"""nano's starting weights: random by a seed, and the mean and deviation of its mel features."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from phi4mm.model.audio import AudioEncoder
from phi4mm.model.media import AudioBatch
from phi4mm.model.phi4mm import Phi4MM

MEASURED_CLIPS = 300


def initialize(model: Phi4MM, seed: int) -> None:
    """Set random starting weights in place: matrices scaled by fan-in; LoRA B matrices and biases zero."""
    generator = torch.Generator().manual_seed(seed)
    zero_at_start = (".lora_b.", "relative_bias", ".gate_b1", ".gate_b2")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                parameter.fill_(1)
            elif parameter.dim() < 2 or any(part in name for part in zero_at_start):
                parameter.zero_()
            elif name.endswith("position_embedding.weight"):
                # As large as the patch embeddings: with smaller values the tower does not learn positions.
                parameter.normal_(0, 0.5, generator=generator)
            elif name.endswith(("embed_tokens.weight", "separator", "probe")):
                parameter.normal_(0, 0.1, generator=generator)
            else:
                parameter.normal_(0, 0.7 * parameter[0].numel() ** -0.5, generator=generator)


def measure_mels(encoder: AudioEncoder, clips: Iterable[AudioBatch]) -> None:
    """Set the encoder's mean and inverse standard deviation to those of the first MEASURED_CLIPS clips, in place."""
    frames: list[Tensor] = []
    for batch in clips:
        frames += [features[:count] for features, count in zip(batch.features, batch.frames.tolist(), strict=True)]
        if len(frames) >= MEASURED_CLIPS:
            break
    measured = torch.cat(frames)
    encoder.mean.copy_(measured.mean(0))
    encoder.invstd.copy_(1 / measured.std(0))
