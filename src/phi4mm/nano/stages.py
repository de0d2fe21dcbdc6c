"""nano's three training stages: each encoder pretrained separately, then the whole model jointly."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from phi4mm.errors import ConfigError
from phi4mm.model.audio import AudioEncoder
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.model.vision import Tower
from phi4mm.nano.batches import NAMES, make_audio_batch, make_joint_batch, make_vision_batch, open_batch_maker
from phi4mm.nano.data import AudioExamples, JointExamples, VisionExamples
from phi4mm.nano.initialization import initialize, measure_mels
from phi4mm.nano.recipe import NanoRecipe, Stage, nano_config
from phi4mm.nano.speech_bank import build_bank
from phi4mm.nano.tokenizer import train_tokenizer
from phi4mm.training import losses
from phi4mm.training.forward import forward
from phi4mm.training.loop import Objective, Progress, Trainer
from phi4mm.training.optimizers import Schedule, make_adamw
from phi4mm.training.state import load_module
from phi4mm.training.workers import worker_pool

BETAS = (0.9, 0.98)
TOKENIZER_EXAMPLES = 1500  # per task


class AudioPretraining(Objective[AudioExamples]):
    """Trains the audio encoder with a word head: on the sequence of words (CTC), and on the word at each token."""

    weights: ClassVar = {"ctc": 0.3, "frame_ce": 1.0}

    def __init__(self, encoder: AudioEncoder, head: nn.Linear) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def losses(self, batch: AudioExamples) -> dict[str, Tensor]:
        """`ctc` of the words spoken, a mean over clips; `frame_ce` of the word at each token, a mean over tokens."""
        hidden = self.encoder(batch.clips.features, batch.clips.frames)
        return {
            "ctc": losses.ctc(self.head(hidden), batch.clips.tokens, batch.spoken),
            "frame_ce": losses.frame_ce(self.head(hidden), batch.frame_words),
        }

    def counts(self, batch: AudioExamples) -> dict[str, int]:
        """Clips and labelled tokens."""
        return {"ctc": len(batch.spoken), "frame_ce": int((batch.frame_words != losses.NO_LABEL).sum())}


class VisionPretraining(Objective[VisionExamples]):
    """Trains the image tower with a head that predicts the words that describe an image."""

    weights: ClassVar = {"multilabel": 0.4}

    def __init__(self, tower: Tower, head: nn.Linear) -> None:
        super().__init__()
        self.tower = tower
        self.head = head

    def losses(self, batch: VisionExamples) -> dict[str, Tensor]:
        """`multilabel`: of the words predicted from the mean of a crop's patch features, a mean over images."""
        features = self.tower(batch.images.pixels, batch.images.mask)
        return {"multilabel": losses.multilabel(self.head(features.mean(1)), batch.shown)}

    def counts(self, batch: VisionExamples) -> dict[str, int]:
        """Images."""
        return {"multilabel": len(batch.shown)}


class JointTraining(Objective[JointExamples]):
    """Trains the whole model on answers, with an auxiliary word head and loss for each encoder."""

    weights: ClassVar = {"answer": 1.0, "ctc": 0.3, "multilabel": 0.4}

    def __init__(self, model: Phi4MM, audio_head: nn.Linear, image_head: nn.Linear) -> None:
        super().__init__()
        self.model = model
        self.audio_head = audio_head
        self.image_head = image_head

    def losses(self, batch: JointExamples) -> dict[str, Tensor]:
        """`answer`, a mean over labels; `ctc` if the batch has audio and `multilabel` if it has images."""
        result = forward(self.model, batch.training)
        auxiliary: dict[str, Tensor] = {}
        if result.images:
            means = torch.stack([embeddings.mean(0) for embeddings in result.images])
            auxiliary["multilabel"] = losses.multilabel(self.image_head(means), batch.shown)
        if result.audio is not None and batch.training.clips is not None:
            logits = self.audio_head(result.audio.hidden)
            auxiliary["ctc"] = losses.ctc(logits, batch.training.clips.tokens, batch.spoken)
        return auxiliary | {"answer": losses.cross_entropy(result.logits, batch.training.labels)}

    def counts(self, batch: JointExamples) -> dict[str, int]:
        """Labels, clips and images."""
        return {"answer": len(batch.training.labels), "ctc": len(batch.spoken), "multilabel": len(batch.shown)}


@dataclass(frozen=True)
class NanoStages:
    """The objectives of all stages. They share one model: `joint` contains the encoders of `audio` and `vision`."""

    audio: AudioPretraining
    vision: VisionPretraining
    joint: JointTraining


def new_stages(recipe: NanoRecipe) -> NanoStages:
    """nano with its starting weights, which depend only on the recipe's seed and data, so each stage gets the same."""
    maker = open_batch_maker(recipe.folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = Phi4MM(nano_config(maker.processor.tokenizer))
        config = model.config
        audio_head = nn.Linear(config.audio.hidden_size, len(maker.words) + 1)
        image_head = nn.Linear(config.text.hidden_size, len(NAMES))
        tower_head = nn.Linear(config.vision.hidden_size, len(NAMES))
    initialize(model, recipe.seed)
    assert model.audio is not None and model.image is not None, "nano has both encoders"
    measure_mels(maker.bank, model.audio.encoder)
    return NanoStages(
        AudioPretraining(model.audio.encoder, audio_head),
        VisionPretraining(model.image.tower, tower_head),
        JointTraining(model, audio_head, image_head),
    )


def init_from_stages(recipe: NanoRecipe, stages: NanoStages) -> None:
    """Load the separately pretrained encoders, in place.

    raises  ConfigError when their stages have not run, CheckpointError when their states do not fit
    """
    parts: dict[Stage, nn.Module] = {"audio": stages.audio, "vision": stages.vision}
    for stage, part in parts.items():
        if not recipe.state(stage).exists():
            raise ConfigError(f"stage joint needs {recipe.state(stage)}; run stage {stage} first")
        load_module(recipe.state(stage), part)


def prepare(recipe: NanoRecipe, processes: int, report: Callable[[str], None]) -> None:
    """Make the tokenizer and the speech bank if they are missing.

    report  called with a line on the progress
    """
    recipe.folder.mkdir(parents=True, exist_ok=True)
    tokenizer = recipe.folder / "tokenizer.json"
    if not tokenizer.exists():
        report(f"tokenizer: training it on {TOKENIZER_EXAMPLES} examples per task")
        unfinished = tokenizer.with_suffix(".part")
        with worker_pool(1) as pool:  # the tokenizers library ignores Ctrl-C while it trains
            text = pool.submit(train_tokenizer, TOKENIZER_EXAMPLES, recipe.vocabulary).result()
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, tokenizer)
    if not (recipe.folder / "speech" / "index.json").exists():
        build_bank(recipe.folder / "speech", recipe.utterances, {}, recipe.seed, processes, report)


def train_stage(
    recipe: NanoRecipe, stage: Stage, *, resume: bool, report: Callable[[Progress], None] | None = None
) -> None:
    """Run one stage to its end; `audio` and `vision` are independent, `joint` needs the states of both.

    resume  continue from the stage's saved state, if there is one
    report  as in Trainer.run
    raises  ConfigError when an earlier stage has not run
    """
    plan, stages = recipe.plan(stage), new_stages(recipe)
    if stage == "joint":
        init_from_stages(recipe, stages)
    objectives: dict[Stage, Objective[Any]] = {"audio": stages.audio, "vision": stages.vision, "joint": stages.joint}
    makers: dict[Stage, Callable[..., Any]] = {
        "audio": make_audio_batch,
        "vision": make_vision_batch,
        "joint": make_joint_batch,
    }
    objective = objectives[stage]
    schedule = Schedule(plan.steps, plan.rate, decay=plan.decay)
    trainer = Trainer(objective, make_adamw(objective, betas=BETAS), schedule, recipe.state(stage))
    if resume and trainer.state.exists():
        trainer.resume()
    trainer.run(functools.partial(makers[stage], recipe.folder, recipe.seed, plan.batch), report)
