"""One batch, learned by heart: the loss goes to nothing, and the saved model answers with the trained words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import phi4mm
from phi4mm.checkpoint.save import save_original
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.processing.processor import Processor
from phi4mm.protocol.request import ChatRequest
from phi4mm.training.collate import TrainingBatch, collate
from phi4mm.training.data import make_training_example
from phi4mm.training.optimizers import make_adamw, select_trainable
from phi4mm.training.sft import AnswerTraining
from tests.training.conftest import EXAMPLES

LEARNED = 0.01
HEAD = ("model.text.embed_tokens", "model.text.norm")  # of random weights: too small for a certain answer


def learn(objective: AnswerTraining, batch: TrainingBatch, rate: float = 3e-3, steps: int = 400) -> float:
    """Train on one batch until its loss is below LEARNED; returns the last loss."""
    optimizer = make_adamw(objective)
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss = float("inf")
    for _ in range(steps):
        optimizer.zero_grad()
        total = torch.stack(list(objective.losses(batch).values())).sum()
        loss = total.item()
        if loss < LEARNED:
            break
        total.backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
        optimizer.step()
    return loss


@pytest.mark.parametrize(
    ("names", "prefixes", "adapters"),
    [
        (("text",), ("model.text",), ()),
        (("image",), ("model.image", *HEAD), ("vision",)),
        (("audio", "two clips"), ("model.audio", *HEAD), ("speech",)),
        (("both",), ("model.audio.projection.vision", "model.image", *HEAD), ("vision",)),
        (("text", "image", "audio", "both"), ("model",), ("vision", "speech")),
    ],
)
def test_an_overfitted_batch_is_answered_word_for_word_after_save_and_load(
    model: Phi4MM,
    processor: Processor,
    small_folder: Path,
    tmp_path: Path,
    names: tuple[str, ...],
    prefixes: tuple[str, ...],
    adapters: tuple[str, ...],
) -> None:
    """Prevents labels, media or adapters that are not those of inference, and weights that are not saved."""
    examples = [EXAMPLES[name] for name in names]
    objective = AnswerTraining(model)
    select_trainable(objective, prefixes=prefixes, adapters=adapters)
    batch = collate([make_training_example(example, processor) for example in examples], 96)
    assert learn(objective, batch) < LEARNED
    save_original(model, tmp_path / "learned", source=small_folder)
    loaded = phi4mm.load(tmp_path / "learned", dtype="float32")
    for example in examples:
        reply = loaded.batch([ChatRequest(example.messages)])[0]
        assert (reply.text, reply.finish_reason) == (example.answer, "stop")
