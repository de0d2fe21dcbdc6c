"""The recipe of nano: its sizes, its stages, and what it is shipped as."""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

from phi4mm.config import AdapterConfig, AudioConfig, Phi4MMConfig, RopeConfig, TextConfig, VisionConfig
from phi4mm.model.audio import AudioEncoder
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.processing.audio import log_mel
from phi4mm.processing.image import ImageProcessor
from phi4mm.processing.processor import Processor
from phi4mm.processing.tokenizer import Special, Tokenizer
from phi4mm.synth import augment, world
from phi4mm.tasks.score import normalise
from phi4mm.train import losses
from phi4mm.train.collate import Clips, TrainBatch, collate, pad_clips
from phi4mm.train.data import make_row, word_ids
from phi4mm.train.speech import RATE, SpeechBank

LONG_FACTOR = (1, 1.56, 2.45, 3.83, 5.98, 9.36, 14.64, 22.9, 32.1, 32.64, 32.71, 33.49)  # thinned from the published 48
POOL = 8  # batches that are sorted by length together, so that little is padded
# How often each task is drawn: while the audio encoder learns alone, and then together.
SILENT_SHARES: dict[world.Task, int] = {"scene": 20, "pair": 12, "sign": 12, "tool_call": 18, "no_tool": 6, "chat": 6}
SHARES: dict[world.Task, int] = {
    "scene": 16, "pair": 10, "sign": 9, "transcribe": 24, "spoken_scene": 16, "spoken_chat": 4, "tool_call": 13,
    "no_tool": 4, "chat": 4,
}  # fmt: skip


def nano_config(tokenizer: Tokenizer) -> Phi4MMConfig:
    """nano's sizes. Its vocabulary is the tokenizer's, rounded up to a multiple of 64."""
    end, endoftext = tokenizer.id(Special.END), tokenizer.id(Special.ENDOFTEXT)
    rope = RopeConfig(10000.0, 24, (1.0,) * 12, LONG_FACTOR, original_max_positions=4096, max_positions=16384)
    return Phi4MMConfig(
        text=TextConfig(
            vocab_size=-(-tokenizer.size // 64) * 64, hidden_size=192, intermediate_size=512, num_layers=4, num_heads=6,
            num_kv_heads=2, rms_norm_eps=1e-5, rope=rope,
        ),
        vision=VisionConfig(
            hidden_size=128, intermediate_size=384, num_layers=5, num_heads=4, image_size=224, patch_size=28
        ),
        audio=AudioConfig(
            hidden_size=160, intermediate_size=320, num_blocks=4, num_heads=4, input_size=80, conv_channels=64,
            kernel_size=15, bias_max_distance=500,
        ),
        vision_lora=AdapterConfig(rank=32, alpha=64, dropout=0.0),
        speech_lora=AdapterConfig(rank=32, alpha=64, dropout=0.0),
        bos_token_id=endoftext, eos_token_ids=(endoftext,), pad_token_id=endoftext, dtype="bfloat16", layout="original",
    )  # fmt: skip


def initialise(model: Phi4MM, seed: int) -> None:
    """Random starting weights, in place: every matrix by its fan-in, adapters that begin as nothing."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            if "norm" in name and name.endswith("weight"):
                parameter.fill_(1)
            elif parameter.dim() < 2 or ".lora_b." in name or "relative_bias" in name or name.endswith(("gate_b1", "gate_b2")):
                parameter.zero_()
            elif name.endswith(("embed_tokens.weight", "position_embedding.weight", "separator", "probe")):
                parameter.normal_(0, 0.1, generator=generator)
            else:
                fan_in = parameter[0].numel()
                parameter.normal_(0, 0.7 * fan_in**-0.5, generator=generator)


@dataclass(frozen=True)
class Workshop:
    """What every worker needs to make batches: the processor, the speech bank and its words."""

    processor: Processor
    bank: SpeechBank
    words: dict[str, int]


@functools.cache
def open_workshop(folder: Path) -> Workshop:
    """Tokenizer and speech bank of a run's folder."""
    bank = SpeechBank(folder / "speech")
    vocabulary = sorted({word for text in set(bank.texts) for word in normalise(text).split()})
    processor = Processor(Tokenizer(folder / "tokenizer.json"), ImageProcessor(224, 28, 12), context=4096)
    return Workshop(processor, bank, {word: number for number, word in enumerate(vocabulary, start=1)})


def make_clips(folder: Path, seed: int, size: int, step: int) -> Clips:
    """Batch `step` of the first stage: `size` recordings of about one length, with fresh noise."""
    shop = open_workshop(folder)
    pool = random.Random(f"pool {seed} {step // POOL}").sample(range(len(shop.bank.texts)), POOL * size)
    pool.sort(key=shop.bank.samples)
    rng = np.random.default_rng([seed, step])
    numbers = pool[step % POOL * size :][:size]
    features = [log_mel(augment.augment(shop.bank.clean(number), RATE, rng), RATE) for number in numbers]
    return pad_clips(features, [word_ids(shop.bank.texts[number], shop.words) for number in numbers])


def make_batch(folder: Path, shares: dict[world.Task, int], seed: int, size: int, step: int) -> TrainBatch:
    """Batch `step` of a stage that answers: `size` examples of tasks drawn by their shares."""
    shop = open_workshop(folder)
    rng = random.Random(f"joint {seed} {step}")
    tasks = rng.choices(list(shares), list(shares.values()), k=size)
    examples = [world.example("train", rng.getrandbits(48), task, shop.bank.record) for task in tasks]
    rows = [make_row(example, shop.processor, shop.words) for example in examples]
    order = {"vision": 0, "speech": 1, None: 2}
    return collate(sorted(rows, key=lambda row: order[row.prompt.adapter]))


class Listener(nn.Module):
    """The audio encoder with a CTC head on words, as the first stage trains it."""

    def __init__(self, encoder: AudioEncoder, head: nn.Linear) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def losses(self, clips: Clips) -> dict[str, Tensor]:
        """The CTC loss of a batch."""
        return {"ctc": losses.ctc(self.head, self.encoder(clips.features, clips.frames), clips)}


class Learner(nn.Module):
    """The whole model, its audio encoder still held to the words by the CTC head."""

    def __init__(self, model: Phi4MM, head: nn.Linear) -> None:
        super().__init__()
        self.model = model
        self.head = head

    def losses(self, batch: TrainBatch) -> dict[str, Tensor]:
        """The losses of answers and words of a batch."""
        return losses.answers(self.model, batch, self.head)


def measure_mels(bank: SpeechBank, encoder: AudioEncoder, clips: int = 500) -> None:
    """Set the encoder's mean and inverse deviation from the bank's first recordings, in place."""
    rng = np.random.default_rng(0)
    heard = (augment.augment(bank.clean(number), RATE, rng) for number in range(0, len(bank.texts), len(bank.texts) // clips))
    frames = np.concatenate([log_mel(samples, RATE) for samples in heard])
    encoder.mean.copy_(torch.from_numpy(frames.mean(0)))
    encoder.invstd.copy_(torch.from_numpy(1 / frames.std(0)))


def new_model(folder: Path, seed: int) -> tuple[Phi4MM, nn.Linear]:
    """nano before any training, and its CTC head."""
    shop = open_workshop(folder)
    torch.manual_seed(seed)
    model = Phi4MM(nano_config(shop.processor.tokenizer))
    initialise(model, seed)
    assert model.audio is not None
    measure_mels(shop.bank, model.audio.encoder)
    return model, nn.Linear(model.config.audio.hidden_size, len(shop.words) + 1)


def join(folder: Path, seed: int) -> Learner:
    """The whole model with what the two first stages learnt apart: hearing, and seeing with speaking."""
    model, head = new_model(folder, seed)
    assert model.audio is not None
    learner = Learner(model, head)
    parts = {"hear.safetensors": Listener(model.audio.encoder, head), "see.safetensors": learner}
    for name, module in parts.items():
        with safe_open(folder / name, "pt") as file:
            stored = {key.removeprefix("module."): file.get_tensor(key) for key in file.keys() if key.startswith("module.")}  # noqa: SIM118
        missing, unexpected = module.load_state_dict(stored, strict=False)
        assert not unexpected, unexpected
    return learner
