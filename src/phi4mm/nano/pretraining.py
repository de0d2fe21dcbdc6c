"""Pre-training of nano's encoders alone, each with a linear head that is thrown away later."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from phi4mm.errors import ConfigError
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.nano.batches import NanoBatch
from phi4mm.training.loop import Objective
from phi4mm.training.losses import ctc, multilabel

BYTES = 256


class TranscriptTraining(Objective[NanoBatch]):
    """Trains the audio encoder, with a head over the vocabulary and a blank, on the tokens of what is said (CTC)."""

    weights: ClassVar = {"ctc": 1.0}

    def __init__(self, model: Phi4MM) -> None:
        super().__init__()
        if model.audio is None:
            raise ConfigError("a model without its audio encoder cannot learn transcripts; build it whole")
        self.model = model
        self.head = nn.Linear(model.config.audio.hidden_size, model.config.text.vocab_size + 1)

    def losses(self, batch: NanoBatch) -> dict[str, Tensor]:
        """`ctc`, a mean over clips."""
        clips, audio = batch.training.clips, self.model.audio
        assert clips is not None and audio is not None, "every example of this goal has a clip"
        hidden = audio.encoder(clips.features, clips.frames)
        targets = [[token + 1 for token in said] for said in batch.said]
        return {"ctc": ctc(self.head(hidden), clips.tokens, targets)}

    def counts(self, batch: NanoBatch) -> dict[str, int]:
        """Clips."""
        return {"ctc": len(batch.said)}


class ShownTraining(Objective[NanoBatch]):
    """Trains the image tower with two heads: the words that describe an image, and the letters of a printed line."""

    weights: ClassVar = {"shown": 1.0, "read": 1.0}

    def __init__(self, model: Phi4MM, words: int) -> None:
        super().__init__()
        if model.image is None:
            raise ConfigError("a model without its image tower cannot learn what is shown; build it whole")
        self.model = model
        self.words = nn.Linear(model.config.vision.hidden_size, words)
        self.letters = nn.Linear(model.config.vision.hidden_size, BYTES + 1)

    def losses(self, batch: NanoBatch) -> dict[str, Tensor]:
        """`shown`: the words predicted from the mean of an image's patches; `read`: CTC; both are means over images."""
        images, embedder = batch.training.images, self.model.image
        assert images is not None and embedder is not None, "every example of this goal has an image"
        features = embedder.tower(images.pixels, images.mask)
        crops = features.split([1 + rows * columns for rows, columns in images.grids])
        losses: dict[str, Tensor] = {}
        if shown := [(part, words) for part, words in zip(crops, batch.shown, strict=True) if words]:
            means = torch.stack([part.mean((0, 1)) for part, _ in shown])
            losses["shown"] = multilabel(self.words(means), [words for _, words in shown])
        if lines := [(part[1], text) for part, text in zip(crops, batch.printed, strict=True) if text]:
            side = images.mask.shape[-1]
            logits = self.letters(torch.stack([crop for crop, _ in lines])).unflatten(1, (side, side))
            columns = torch.full((len(lines),), side)
            targets = [[1 + byte for byte in text] for _, text in lines]
            losses["read"] = ctc(logits.float().logsumexp(1), columns, targets)
        return losses

    def counts(self, batch: NanoBatch) -> dict[str, int]:
        """Images with words, and printed lines."""
        return {"shown": sum(map(bool, batch.shown)), "read": sum(map(bool, batch.printed))}
