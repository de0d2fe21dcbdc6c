"""nano's starting weights: random by a seed, and the mean and deviation of its mel features."""

from __future__ import annotations

import numpy as np
import torch

from phi4mm.model.audio import AudioEncoder
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.nano.speech_bank import SpeechBank
from phi4mm.nano.synth import augment
from phi4mm.nano.synth.augment import RATE
from phi4mm.processing.audio import log_mel

MEASURED_CLIPS = 500


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


def measure_mels(bank: SpeechBank, encoder: AudioEncoder) -> None:
    """Set the encoder's mean and inverse standard deviation, measured on utterances of the bank, in place."""
    rng = np.random.default_rng(0)
    numbers = range(0, len(bank.texts), max(1, len(bank.texts) // MEASURED_CLIPS))
    frames = np.concatenate([log_mel(augment.augment(bank.clean(number), RATE, rng), RATE) for number in numbers])
    encoder.mean.copy_(torch.from_numpy(frames.mean(0)))
    encoder.invstd.copy_(torch.from_numpy(1 / frames.std(0)))
