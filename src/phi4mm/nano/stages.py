"""The three stages of nano as objectives of training/: encoders that learn apart, then everything together."""

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
TOKENIZER_EXAMPLES = 1500  # a task


class AudioPretraining(Objective[AudioExamples]):
    """The audio encoder with a head on words: the words in order, and the word at each moment."""

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
    """The image tower with a head on the words that describe an image."""

    weights: ClassVar = {"multilabel": 0.4}

    def __init__(self, tower: Tower, head: nn.Linear) -> None:
        super().__init__()
        self.tower = tower
        self.head = head

    def losses(self, batch: VisionExamples) -> dict[str, Tensor]:
        """`multilabel`: how well the mean of a crop's patches tells what is shown, a mean over images."""
        features = self.tower(batch.images.pixels, batch.images.mask)
        return {"multilabel": losses.multilabel(self.head(features.mean(1)), batch.shown)}

    def counts(self, batch: VisionExamples) -> dict[str, int]:
        """Images."""
        return {"multilabel": len(batch.shown)}


class JointTraining(Objective[JointExamples]):
    """The whole model on answers, its encoders held to the words that are spoken and shown by a head each."""

    weights: ClassVar = {"answer": 1.0, "ctc": 0.3, "multilabel": 0.4}

    def __init__(self, model: Phi4MM, audio_head: nn.Linear, image_head: nn.Linear) -> None:
        super().__init__()
        self.model = model
        self.audio_head = audio_head
        self.image_head = image_head

    def losses(self, batch: JointExamples) -> dict[str, Tensor]:
        """`answer`, a mean over labels; `ctc` and `multilabel` as in the stages before, where there are such media."""
        result = forward(self.model, batch.training)
        found: dict[str, Tensor] = {}
        if result.images:
            means = torch.stack([embeddings.mean(0) for embeddings in result.images])
            found["multilabel"] = losses.multilabel(self.image_head(means), batch.shown)
        if result.audio is not None and batch.training.clips is not None:
            logits = self.audio_head(result.audio.hidden)
            found["ctc"] = losses.ctc(logits, batch.training.clips.tokens, batch.spoken)
        return found | {"answer": losses.cross_entropy(result.logits, batch.training.labels)}

    def counts(self, batch: JointExamples) -> dict[str, int]:
        """Labels, clips and images."""
        return {"answer": len(batch.training.labels), "ctc": len(batch.spoken), "multilabel": len(batch.shown)}


@dataclass(frozen=True)
class NanoStages:
    """The objectives of all stages over one model: what a stage learns apart, `joint` has too."""

    audio: AudioPretraining
    vision: VisionPretraining
    joint: JointTraining


def new_stages(recipe: NanoRecipe) -> NanoStages:
    """nano before any training. The same for each stage: it depends on the recipe's seed and data alone."""
    maker = open_batch_maker(recipe.folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = Phi4MM(nano_config(maker.processor.tokenizer))
        config = model.config
        audio_head = nn.Linear(config.audio.hidden_size, len(maker.words) + 1)
        image_head = nn.Linear(config.text.hidden_size, len(NAMES))
        tower_head = nn.Linear(config.vision.hidden_size, len(NAMES))
    initialize(model, recipe.seed)
    assert model.audio is not None and model.image is not None, "nano is built whole"
    measure_mels(maker.bank, model.audio.encoder)
    return NanoStages(
        AudioPretraining(model.audio.encoder, audio_head),
        VisionPretraining(model.image.tower, tower_head),
        JointTraining(model, audio_head, image_head),
    )


def init_from_stages(recipe: NanoRecipe, stages: NanoStages) -> None:
    """Load what the encoders learnt apart, in place.

    raises  ConfigError when their stages have not run, CheckpointError when their states do not fit
    """
    parts: dict[Stage, nn.Module] = {"audio": stages.audio, "vision": stages.vision}
    for stage, part in parts.items():
        if not recipe.state(stage).exists():
            raise ConfigError(f"stage joint needs {recipe.state(stage)}; run stage {stage} first")
        load_module(recipe.state(stage), part)


def prepare(recipe: NanoRecipe, processes: int, report: Callable[[str], None]) -> None:
    """Make what the stages read and is not there yet: the tokenizer and the speech bank. `report` is told of both."""
    recipe.folder.mkdir(parents=True, exist_ok=True)
    tokenizer = recipe.folder / "tokenizer.json"
    if not tokenizer.exists():
        report(f"tokenizer: learning it from {TOKENIZER_EXAMPLES} examples a task")
        part = tokenizer.with_suffix(".part")
        with worker_pool(1) as pool:  # the tokenizers library does not see Ctrl-C while it learns
            learned = pool.submit(train_tokenizer, TOKENIZER_EXAMPLES, recipe.vocabulary).result()
        part.write_text(learned, encoding="utf-8")
        os.replace(part, tokenizer)
    if not (recipe.folder / "speech" / "index.json").exists():
        build_bank(recipe.folder / "speech", recipe.utterances, recipe.seed, processes, report)


def train_stage(
    recipe: NanoRecipe, stage: Stage, *, resume: bool, report: Callable[[Progress], None] | None = None
) -> None:
    """Run one stage to its end; `audio` and `vision` need nothing of each other, `joint` needs both.

    resume  go on from the stage's saved state
    report  as in Trainer.run
    raises  ConfigError when a stage before it has not run
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
