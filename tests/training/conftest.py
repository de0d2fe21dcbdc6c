"""A small model that tests may change, its processor, and conversations with and without media."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from phi4mm.checkpoint.load import load_model
from phi4mm.inference.model import Model
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.processing.processor import Processor
from phi4mm.protocol.messages import Audio, Image, Message
from phi4mm.training.data import Example

IMAGE = Image(np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3))
CLIP = Audio(np.sin(np.arange(9000) / 9).astype(np.float32), 16000)
SHORT_CLIP = Audio(np.sin(np.arange(5000) / 7).astype(np.float32), 16000)

EXAMPLES = {
    "text": Example((Message.system("Be brief."), Message.user("Hello there.")), "Hello."),
    "image": Example((Message.user(IMAGE, "What is this?"),), "Stripes."),
    "audio": Example((Message.user(CLIP, "Write it down."),), "A tone."),
    "both": Example((Message.user(IMAGE, SHORT_CLIP),), "Stripes and a tone."),
    "two clips": Example((Message.user(SHORT_CLIP, CLIP),), "Two tones."),
}


@pytest.fixture
def model(small_folder: Path) -> Phi4MM:
    """A new model for each test."""
    return load_model(small_folder, device="cpu", dtype=torch.float32).requires_grad_(True)


@pytest.fixture(scope="session")
def processor(small: Model) -> Processor:
    return small.processor
