"""The encoders alone: one batch, learned by heart, is heard and read as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from phi4mm.checkpoint.load import load_model
from phi4mm.inference.model import Model
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.nano.batches import NanoBatch
from phi4mm.nano.pretraining import ShownTraining, TranscriptTraining
from phi4mm.training.collate import collate
from phi4mm.training.data import make_training_example
from phi4mm.training.loop import Objective
from phi4mm.training.losses import BLANK
from phi4mm.training.optimizers import make_adamw, select_trainable
from tests.training.conftest import EXAMPLES

LEARNED = 0.01


@pytest.fixture
def model(small_folder: Path) -> Phi4MM:
    return load_model(small_folder, device="cpu", dtype=torch.float32).requires_grad_(True)


def batch_of(
    small: Model, name: str, *, said: str = "", shown: tuple[int, ...] = (), printed: bytes = b""
) -> NanoBatch:
    training = collate([make_training_example(EXAMPLES[name], small.processor)], 96)
    return NanoBatch(training, (tuple(small.processor.tokenizer.encode_text(said)),), (shown,), (printed,))


def learn(objective: Objective[Any], batch: NanoBatch, *prefixes: str) -> None:
    """Train until every loss is below LEARNED; fails when that takes too long."""
    select_trainable(objective, prefixes=prefixes)
    optimizer = make_adamw(objective)
    for group in optimizer.param_groups:
        group["lr"] = 3e-3
    for _ in range(600):
        optimizer.zero_grad()
        losses = objective.losses(batch)
        if all(loss.item() < LEARNED for loss in losses.values()):
            return
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
        optimizer.step()
    pytest.fail(f"the losses are still {losses}")


def collapsed(classes: list[int]) -> list[int]:
    """The best path of CTC: repeated classes once, blanks left out."""
    changes = [one for one, before in zip(classes, [BLANK, *classes], strict=False) if one != before]
    return [one for one in changes if one != BLANK]


def test_an_overfitted_clip_is_heard_token_for_token(small: Model, model: Phi4MM) -> None:
    """Prevents classes that are not those of the targets, and clips that end at the wrong token."""
    torch.manual_seed(0)
    objective, batch = TranscriptTraining(model), batch_of(small, "audio", said="a tone")
    learn(objective, batch, "model.audio.encoder", "head")
    clips, audio = batch.training.clips, model.audio
    assert clips is not None and audio is not None
    classes = objective.head(audio.encoder(clips.features, clips.frames)).argmax(-1)[0, : clips.tokens[0]].tolist()
    assert [one - 1 for one in collapsed(classes)] == list(batch.said[0])


@pytest.mark.parametrize("given", [{"shown": (1, 4)}, {"printed": b"ab"}])
def test_an_overfitted_image_is_described_and_read(small: Model, model: Phi4MM, given: dict[str, Any]) -> None:
    """Prevents words or letters of another image."""
    torch.manual_seed(0)
    objective, batch = ShownTraining(model, 6), batch_of(small, "image", **given)
    learn(objective, batch, "model.image.tower", "words", "letters")
    images, embedder = batch.training.images, model.image
    assert images is not None and embedder is not None
    features = embedder.tower(images.pixels, images.mask)
    if "shown" in given:
        assert (objective.words(features.mean((0, 1))) > 0).nonzero()[:, 0].tolist() == [1, 4]
    else:
        side = images.mask.shape[-1]
        columns = objective.letters(features[1]).unflatten(0, (side, side)).logsumexp(0).argmax(-1).tolist()
        assert [one - 1 for one in collapsed(columns)] == list(b"ab")
