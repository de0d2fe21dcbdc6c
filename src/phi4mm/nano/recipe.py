"""nano: its sizes, its three stages, and the folder it is shipped as.

hear  the audio encoder alone, with a head on words
look  the image tower alone, with a head on the words that describe a picture
join  everything together, on all tasks
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

from phi4mm.config.model import AdapterConfig, AudioConfig, Phi4MMConfig, RopeConfig, TextConfig, VisionConfig
from phi4mm.errors import CheckpointError, ConfigError
from phi4mm.model.audio import AudioEncoder
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.model.vision import Tower
from phi4mm.nano import losses
from phi4mm.nano.batches import IMAGES, NAMES, SHARES, make_batch, make_clips, make_pictures, open_workshop
from phi4mm.nano.collate import Clips, Pictures, TrainBatch
from phi4mm.nano.speech_bank import RATE, SpeechBank, build_bank
from phi4mm.nano.synth import augment, world
from phi4mm.nano.tokenizer import train_tokenizer
from phi4mm.processing.audio import log_mel
from phi4mm.processing.tokenizer import Special, Tokenizer
from phi4mm.training.loop import Schedule, Trainer

Stage: TypeAlias = Literal["hear", "look", "join"]
STAGES: tuple[Stage, ...] = ("hear", "look", "join")
WEIGHTS = {"answer": 1.0, "ctc": 0.3, "naming": 0.4, "uttering": 1.0}
LONG_FACTOR = (1, 1.56, 2.45, 3.83, 5.98, 9.36, 14.64, 22.9, 32.1, 32.64, 32.71, 33.49)  # thinned from the published 48
MEASURED_CLIPS = 500
RECORDED = world.SPOKEN  # the tasks whose texts are spoken in advance


@dataclass(frozen=True)
class StagePlan:
    """Steps of a stage, examples a step, its highest learning rate, and the step at which that has decayed."""

    steps: int
    batch: int
    rate: float
    decay: int = 0


@dataclass(frozen=True)
class NanoRecipe:
    """Everything that decides what nano becomes, but for the code itself.

    folder      where tokenizer, speech and states are kept between runs
    recordings  training examples of each spoken task that are spoken in advance
    vocabulary  most entries of the tokenizer
    """

    folder: Path
    seed: int
    vocabulary: int
    recordings: dict[world.Task, int]
    hear: StagePlan
    look: StagePlan
    join: StagePlan


def nano_config(tokenizer: Tokenizer) -> Phi4MMConfig:
    """nano's sizes. Its vocabulary is the tokenizer's, rounded up to a multiple of 64."""
    endoftext = tokenizer.id(Special.ENDOFTEXT)
    rope = RopeConfig(10000.0, 24, (1.0,) * 12, LONG_FACTOR, original_max_positions=4096, max_positions=16384)
    return Phi4MMConfig(
        text=TextConfig(
            vocab_size=-(-tokenizer.size // 64) * 64, hidden_size=192, intermediate_size=384, num_layers=4, num_heads=6,
            num_kv_heads=2, rms_norm_eps=1e-5, rope=rope,
        ),
        vision=VisionConfig(
            hidden_size=128, intermediate_size=384, num_layers=5, num_heads=4, image_size=IMAGES.crop_size,
            patch_size=IMAGES.patch_size,
        ),
        audio=AudioConfig(
            hidden_size=160, intermediate_size=320, num_blocks=4, num_heads=4, input_size=80, conv_channels=64,
            kernel_size=15, bias_max_distance=500,
        ),
        vision_lora=AdapterConfig(rank=16, alpha=32, dropout=0.0),
        speech_lora=AdapterConfig(rank=16, alpha=32, dropout=0.0),
        bos_token_id=endoftext, eos_token_ids=(endoftext,), pad_token_id=endoftext, dtype="bfloat16", layout="original",
    )  # fmt: skip


class Listener(nn.Module):
    """The audio encoder with a head on words, as it learns to hear."""

    def __init__(self, encoder: AudioEncoder, head: nn.Linear) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def losses(self, clips: Clips) -> dict[str, Tensor]:
        """How well a batch tells the words in order, and the word at each moment."""
        encoded = self.encoder(clips.features, clips.frames)
        found = {"ctc": losses.ctc(self.head, encoded, clips)}
        if clips.uttered is not None:
            found["uttering"] = losses.uttering(self.head, encoded, clips.uttered)
        return found


class Looker(nn.Module):
    """The image tower with a head on words, as it learns to see."""

    def __init__(self, tower: Tower, width: int) -> None:
        super().__init__()
        self.tower = tower
        self.head = nn.Linear(width, len(NAMES))

    def losses(self, pictures: Pictures) -> dict[str, Tensor]:
        """How well the mean of a crop's patches tells what is shown."""
        features = self.tower(pictures.pixels, pictures.mask)
        return {"naming": losses.naming(self.head, list(features), pictures.shown)}


class Learner(nn.Module):
    """The whole model, its encoders held to the words that are spoken and shown by a head each."""

    def __init__(self, model: Phi4MM, words: int) -> None:
        super().__init__()
        self.model = model
        self.head = nn.Linear(model.config.audio.hidden_size, words + 1)
        self.naming = nn.Linear(model.config.text.hidden_size, len(NAMES))

    def listener(self) -> Listener:
        """What the hearing stage trains: the same encoder and head."""
        assert self.model.audio is not None
        return Listener(self.model.audio.encoder, self.head)

    def looker(self) -> Looker:
        """What the looking stage trains: the same tower, and a head of its own."""
        assert self.model.image is not None
        return Looker(self.model.image.tower, self.model.config.vision.hidden_size)

    def losses(self, batch: TrainBatch) -> dict[str, Tensor]:
        """The losses of answers, words spoken and words shown of a batch."""
        return losses.answers(self.model, batch, self.head, self.naming)


def prepare(recipe: NanoRecipe, processes: int) -> None:
    """Make what the stages read and is not there yet: the tokenizer and the speech bank."""
    recipe.folder.mkdir(parents=True, exist_ok=True)
    tokenizer = recipe.folder / "tokenizer.json"
    if not tokenizer.exists():
        part = tokenizer.with_suffix(".part")
        part.write_text(train_tokenizer(1500, recipe.vocabulary), encoding="utf-8")
        os.replace(part, tokenizer)
    if not (recipe.folder / "speech" / "index.json").exists():
        build_bank(recipe.folder / "speech", recipe.recordings, recipe.seed, processes)


def train_stage(recipe: NanoRecipe, stage: Stage, *, resume: bool) -> None:
    """Run one stage to its end; `hear` and `look` need nothing of each other, `join` needs both.

    resume  go on from the stage's saved state
    raises  ConfigError when a stage before it has not run
    """
    plan: StagePlan = getattr(recipe, stage)
    learner = new_learner(recipe)
    trained: Listener | Looker | Learner = learner
    make: Callable[[int], Any] = functools.partial(make_batch, recipe.folder, SHARES, recipe.seed, plan.batch)
    if stage == "hear":
        trained = learner.listener()
        make = functools.partial(make_clips, recipe.folder, recipe.seed, plan.batch)
    elif stage == "look":
        trained = learner.looker()
        make = functools.partial(make_pictures, recipe.seed, plan.batch)
    else:
        _take_over(recipe, learner)
    trainer = Trainer(trained, Schedule(plan.steps, plan.rate, decay=plan.decay), state_file(recipe, stage))
    if resume and trainer.state.exists():
        trainer.resume()
    trainer.run(make, trained.losses, WEIGHTS)


def new_learner(recipe: NanoRecipe) -> Learner:
    """nano before any training. The same for each stage: it depends on the recipe's seed and data alone."""
    shop = open_workshop(recipe.folder)
    torch.manual_seed(recipe.seed)
    model = Phi4MM(nano_config(shop.processor.tokenizer))
    initialise(model, recipe.seed)
    assert model.audio is not None
    measure_mels(shop.bank, model.audio.encoder)
    return Learner(model, len(shop.words))


def initialise(model: Phi4MM, seed: int) -> None:
    """Random starting weights, in place: matrices by their fan-in, adapters and biases that begin as nothing."""
    generator = torch.Generator().manual_seed(seed)
    begin_empty = (".lora_b.", "relative_bias", ".gate_b1", ".gate_b2")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                parameter.fill_(1)
            elif parameter.dim() < 2 or any(part in name for part in begin_empty):
                parameter.zero_()
            elif name.endswith("position_embedding.weight"):
                parameter.normal_(0, 0.5, generator=generator)  # as loud as the patches, or places are not learnt
            elif name.endswith(("embed_tokens.weight", "separator", "probe")):
                parameter.normal_(0, 0.1, generator=generator)
            else:
                parameter.normal_(0, 0.7 * parameter[0].numel() ** -0.5, generator=generator)


def measure_mels(bank: SpeechBank, encoder: AudioEncoder) -> None:
    """Set the encoder's mean and inverse deviation from recordings of the bank, in place."""
    rng = np.random.default_rng(0)
    numbers = range(0, len(bank.texts), max(1, len(bank.texts) // MEASURED_CLIPS))
    frames = np.concatenate([log_mel(augment.augment(bank.clean(number), RATE, rng), RATE) for number in numbers])
    encoder.mean.copy_(torch.from_numpy(frames.mean(0)))
    encoder.invstd.copy_(torch.from_numpy(1 / frames.std(0)))


def state_file(recipe: NanoRecipe, stage: Stage) -> Path:
    """Where a stage keeps its state."""
    return recipe.folder / f"{stage}.safetensors"


def _take_over(recipe: NanoRecipe, learner: Learner) -> None:
    """Load what the stages before learnt apart."""
    parts: dict[Stage, nn.Module] = {"hear": learner.listener(), "look": learner.looker()}
    for stage, part in parts.items():
        if not state_file(recipe, stage).exists():
            raise ConfigError(f"stage join needs {state_file(recipe, stage)}; run stage {stage} first")
        load_state(part, state_file(recipe, stage))


def load_state(module: nn.Module, path: Path) -> None:
    """The parameters of a stage's state into the module it trained. Raises CheckpointError when they do not fit."""
    with safe_open(path, "pt") as file:
        names = [name for name in file.keys() if name.startswith("module.")]  # noqa: SIM118
        stored = {name.removeprefix("module."): file.get_tensor(name) for name in names}
    try:
        module.load_state_dict(stored)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit this recipe: {error}") from None
