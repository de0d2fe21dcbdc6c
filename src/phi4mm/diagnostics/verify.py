"""Compares a checkpoint with numbers recorded from the published implementation.

A golden file is an npz whose keys say what to compute. The inputs (images, audio clips, token ids) are formulas, so a
comparison needs only `config.json`, the weights and the golden file.

S tokens of the prompt, Q tokens of one forward pass, V vocabulary.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch
from torch import Tensor

from phi4mm.checkpoint.load import load_model
from phi4mm.checkpoint.synthetic import uniform
from phi4mm.config.json_file import regular_file_bytes
from phi4mm.config.load import load_config
from phi4mm.config.model import Phi4MMConfig
from phi4mm.config.validate import shown
from phi4mm.engine.core import Engine
from phi4mm.engine.encoders import encode_clip, encode_image
from phi4mm.engine.messages import EngineRequest
from phi4mm.engine.prompt_logits import prompt_logits
from phi4mm.errors import InputError
from phi4mm.model.batch import BatchedSequence, ForwardBatch
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.processing.audio import audio_tokens, log_mel
from phi4mm.processing.image import ImageProcessor, image_tokens
from phi4mm.processing.pixels import to_tiles
from phi4mm.processing.processor import media_digest
from phi4mm.processing.resampling import WIDE
from phi4mm.protocol.inputs import Adapter, AudioFrames, AudioProjection, ImageCrops, MediaData, MediaSpan, Prompt
from phi4mm.protocol.sampling import SamplingParams

Array = npt.NDArray[Any]
PIXELS_BOUND = 1e-5  # absolute, on values in about [-1, 1]
MEL_BOUND = 1e-3  # absolute, natural log of power
VALUES_BOUND = 2e-4  # towers and logits, relative to the largest recorded value; float32 rounding is 1e-6
MAX_CROPS = 36
USER, ASSISTANT, END = 200021, 200019, 200020
PLACEHOLDER = {"image": 200010, "audio": 200011}
MODES: dict[int, Adapter | None] = {0: None, 1: "vision", 2: "speech", 3: "vision"}


@dataclass(frozen=True)
class Finding:
    """The comparison of one key of a golden file: `error` and `bound` are in the measure of this key."""

    key: str
    error: float
    bound: float

    @property
    def ok(self) -> bool:
        """Whether the error is within its bound."""
        return self.error <= self.bound


@dataclass(frozen=True)
class Group:
    """The keys that are checked by one computation, such as `tower.image.448x448` or `run.text`."""

    name: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether every finding is within its bound."""
        return all(finding.ok for finding in self.findings)

    @property
    def worst(self) -> Finding:
        """The finding closest to its bound or farthest above it."""
        return max(self.findings, key=lambda f: (not f.ok, f.error / f.bound if f.bound else f.error))


def read_golden(path: Path) -> dict[str, Array]:
    """All arrays of an npz, without pickle. Raises InputError."""
    regular_file_bytes(path, "a golden .npz file", InputError)
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is not a golden file: it is no .npz; expected one as in tests/golden of phi4mm")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        raise InputError(f"{path} is not a golden file: it is damaged, or holds more than plain arrays") from None


def verify_folder(folder: Path, golden: dict[str, Array], *, device: str) -> Iterator[Group]:
    """Load the whole checkpoint in `folder` in float32 and compare it, one group at a time.

    raises  ConfigError, CheckpointError, InputError for an unknown key or numbers of a model of other sizes
    """
    _check_sizes(load_config(folder), golden)
    yield from verify(load_model(folder, device=device, dtype=torch.float32), golden)


def verify(model: Phi4MM, golden: dict[str, Array]) -> Iterator[Group]:
    """Compute what the keys name and compare, one group at a time. Raises InputError as `verify_folder` does."""
    _check_sizes(model.config, golden)
    groups: dict[str, dict[str, Array]] = {}
    for key, recorded in golden.items():
        name, field = _split_key(key)
        groups.setdefault(name, {})[field] = recorded
    checker = Checker(model)
    for name, fields in groups.items():
        findings = checker.check(name, fields)
        unchecked = set(fields) - {finding.key for finding in findings}
        if unchecked:
            raise InputError(f"golden group {name} has keys that phi4mm cannot compute: {', '.join(sorted(unchecked))}")
        yield Group(name, tuple(findings))


class Checker:
    """Computes the groups of a golden file with one model."""

    def __init__(self, model: Phi4MM) -> None:
        vision = model.config.vision
        self._model = model
        self._device = model.text.norm.weight.device
        self._original_max_positions = model.config.text.rope.original_max_positions
        self._images = ImageProcessor(vision.image_size, vision.patch_size, MAX_CROPS)

    def check(self, name: str, recorded: dict[str, Array]) -> list[Finding]:
        """Compare the fields of one group."""
        kind, _, rest = name.partition(".")
        checks: dict[str, Callable[[str, dict[str, Array]], list[Finding]]] = {
            "image": self._image,
            "audio": self._audio,
            "tower": self._tower,
            "run": self._run,
            "long": self._long,
        }
        with torch.inference_mode():
            return checks[kind](rest, recorded)

    def _image(self, size: str, recorded: dict[str, Array]) -> list[Finding]:
        width, height = _numbers(size, "x")
        crops = self._crops(width, height)
        tiles = to_tiles(crops)
        rows, columns = tiles.grid
        side = self._model.config.vision.image_size
        step = int(recorded["pixels_step"]) if "pixels_step" in recorded else 1
        computed: dict[str, Array] = {
            "tokens": np.array([image_tokens(crops.side, *crops.valid)]),
            "canvas_hw": np.array([[rows * side, columns * side]]),
            "shape": np.array(tiles.pixels.shape),
            "mask_valid_per_crop": tiles.mask.sum((1, 2)),
            "pixels_step": np.array(step),
        }
        findings = [_same(key, computed[key], value) for key, value in recorded.items() if key in computed]
        if "pixels_sample" in recorded:
            sample = tiles.pixels.reshape(-1)[::step]
            findings.append(_close("pixels_sample", sample, recorded["pixels_sample"], PIXELS_BOUND))
        return findings

    def _audio(self, name: str, recorded: dict[str, Array]) -> list[Finding]:
        samples, rate = _numbers(name, "@")
        features = log_mel(audio(samples, rate), rate)
        findings = []
        if "features" in recorded:
            findings.append(_close("features", features, recorded["features"], MEL_BOUND))
        if "tokens" in recorded:
            findings.append(_same("tokens", np.array([audio_tokens(len(features))]), recorded["tokens"]))
        return findings

    def _tower(self, name: str, recorded: dict[str, Array]) -> list[Finding]:
        kind, _, rest = name.partition(".")
        if kind == "image":
            embeddings = encode_image(self._model, self._crops(*_numbers(rest, "x")), self._device)
            return [_values("rows", embeddings, recorded["rows"])]
        frames = _frames(_numbers(rest, "@")[0])
        projections: tuple[AudioProjection, ...] = ("speech", "vision")
        return [
            _values(name, encode_clip(self._model, frames, name, self._device), recorded[name])
            for name in projections
            if name in recorded
        ]

    def _run(self, name: str, recorded: dict[str, Array]) -> list[Finding]:
        spans, ids = self._prompt(name, recorded)
        prompt = Prompt(tuple(ids.tolist()), spans)
        mode = int(recorded["mode"])
        if prompt.adapter != MODES.get(mode):
            raise InputError(
                f"run.{name} has mode {mode}; expected 0 for text, 1 for images, 2 for audio or 3 for both"
            )
        logits = _RecordedLogits(recorded, len(ids))
        for start, part in prompt_logits(self._model, prompt, prompt.adapter):
            logits.add(start, part.float())
        inputs = ("mode", "images", "audios", "words")
        findings = [Finding(key, 0.0, 0.0) for key in inputs if key in recorded]
        if "ids" in recorded:
            findings.append(_same("ids", ids, recorded["ids"]))
        findings += logits.findings()
        if "greedy" in recorded:
            findings.append(_same("greedy", self._greedy(prompt, len(recorded["greedy"])), recorded["greedy"]))
        return findings

    def _long(self, name: str, recorded: dict[str, Array]) -> list[Finding]:
        count = int(name)
        ids = text_ids(f"long{count}", count)
        sequence = BatchedSequence(count, long_rope=count > self._original_max_positions)
        outputs = torch.arange(count - 4, count, device=self._device)
        logits = self._model(ForwardBatch(torch.from_numpy(ids).to(self._device), (sequence,), outputs)).float()
        findings = []
        if "last4" in recorded:
            findings.append(_values("last4", logits[:, ::61], recorded["last4"]))
        if "argmax" in recorded:
            findings.append(_same("argmax", logits.argmax(-1).cpu().numpy(), recorded["argmax"]))
        return findings

    def _crops(self, width: int, height: int) -> ImageCrops:
        return self._images(PIL.Image.fromarray(image(width, height)))

    def _prompt(self, name: str, recorded: dict[str, Array]) -> tuple[tuple[MediaSpan, ...], npt.NDArray[np.int64]]:
        """The run's media spans and its ids: user tag, images, audio clips, text, end tag, assistant tag."""
        media: list[tuple[str, int, MediaData]] = []
        for width, height in recorded["images"].tolist():
            crops = self._crops(width, height)
            media.append(("image", image_tokens(crops.side, *crops.valid), crops))
        for samples in recorded["audios"].tolist():
            frames = _frames(samples)
            media.append(("audio", audio_tokens(len(frames.features)), frames))
        spans, ids = [], [USER]
        for kind, length, data in media:
            spans.append(MediaSpan("image" if kind == "image" else "audio", len(ids), length, media_digest(data), data))
            ids += [PLACEHOLDER[kind]] * length
        ids += [*text_ids(name, int(recorded["words"])).tolist(), END, ASSISTANT]
        return tuple(spans), np.array(ids)

    def _greedy(self, prompt: Prompt, count: int) -> Array:
        engine = Engine(self._model, eos_ids=())
        (request,) = engine.add(EngineRequest("greedy", prompt, SamplingParams(max_tokens=count), prompt.adapter))
        while engine.busy:
            engine.step()
        return np.array(request.answer)


class _RecordedLogits:
    """Those samples of a run's logits (S, V) that its golden keys record, collected pass by pass."""

    def __init__(self, recorded: dict[str, Array], tokens: int) -> None:
        self._recorded = {k: v for k, v in recorded.items() if k.startswith("logits_")}
        self._tokens = tokens
        self._parts: dict[str, list[Tensor]] = {key: [] for key in self._recorded}

    def add(self, start: int, logits: Tensor) -> None:
        """logits (Q, V) of prompt positions start .. start + Q."""
        parts = {
            "logits_all_sample": logits[:, 7::9973],
            "logits_argmax": logits.argmax(-1),
            "logits_last": logits[-1:, ::61] if start + len(logits) == self._tokens else logits[:0, ::61],
        }
        for key, part in parts.items():
            if key in self._parts:
                self._parts[key].append(part)

    def findings(self) -> list[Finding]:
        logits = {key: torch.cat(parts) for key, parts in self._parts.items() if parts}
        findings = [
            _values(key, value.reshape(self._recorded[key].shape), self._recorded[key])
            for key, value in logits.items()
            if key != "logits_argmax"
        ]
        if "logits_argmax" in logits:
            findings.append(
                _same("logits_argmax", logits["logits_argmax"].cpu().numpy(), self._recorded["logits_argmax"])
            )
        return findings


def image(width: int, height: int) -> npt.NDArray[np.uint8]:
    """(height, width, 3): a ramp, a wave and a checkerboard; the image that the numbers were recorded with."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    channels = (
        x * 255 // max(width - 1, 1),
        (y * 3 + x * x // 64) % 256,
        (x // 24 + y // 40) % 2 * 180 + (x * 7 + y * 13) % 61,
    )
    return np.stack(channels, axis=-1).astype(np.uint8)


def audio(samples: int, rate: int) -> npt.NDArray[np.float32]:
    """(samples,) in [-1, 1]: two tones and a little noise; the clip that the numbers were recorded with."""
    t = np.arange(samples, dtype=np.float64) / rate
    tones = 0.3 * np.sin(2 * np.pi * (180 * t + 35 * t**1.5)) + 0.2 * np.sin(2 * np.pi * 660 * t)
    return (tones + 0.02 * uniform(f"audio.{rate}", (samples,))).astype(np.float32)


def text_ids(name: str, count: int) -> npt.NDArray[np.int64]:
    """(count,) ordinary token ids below 199000."""
    unit = (uniform(f"text.{name}", (count,)).astype(np.float64) + 1.0) * 0.5
    return (unit * 199000).astype(np.int64)


def _check_sizes(config: Phi4MMConfig, golden: dict[str, Array]) -> None:
    """Raise InputError where a recorded crop, hidden size or number of logits is not the model's."""
    side, width, step = config.vision.image_size, config.text.hidden_size, 61
    logits = -(-config.text.vocab_size // step)
    for key, recorded in golden.items():
        field = key.rpartition(".")[2]
        if key.startswith("image.") and field == "shape" and recorded.shape == (4,):
            name, found, expected = "crops of {} pixels", int(recorded[-1]), side
        elif key.startswith("tower.") and recorded.ndim == 2:
            name, found, expected = "a hidden size of {}", recorded.shape[-1], width
        elif field in ("logits_last", "last4") and recorded.ndim:
            name, found, expected = f"{{}} logits, one of {step}", recorded.shape[-1], logits
        elif key.startswith(("run.", "long.")) and config.text.vocab_size <= USER:
            name, found, expected = "a vocabulary of more than {}", USER, config.text.vocab_size
        else:
            continue
        if found != expected:
            raise InputError(
                f"the golden file was recorded for other sizes: {key} is for {name.format(found)}, "
                f"and this checkpoint has {expected}; give the file that was recorded for it"
            )


def _frames(samples: int) -> AudioFrames:
    return AudioFrames(log_mel(audio(samples, WIDE), WIDE), samples / WIDE)


def _split_key(key: str) -> tuple[str, str]:
    """The group of a key, and its field in it."""
    parts = key.split(".")
    if parts[0] == "tower" and len(parts) == 3 and parts[1] == "image":
        return key, "rows"
    if (parts[0] == "tower" and len(parts) == 4 and parts[1] == "audio") or (
        parts[0] in ("image", "audio", "run", "long") and len(parts) == 3
    ):
        return key.rpartition(".")[0], parts[-1]
    raise InputError(f"golden key {shown(key)} is unknown; expected image., audio., tower., run. or long. keys")


def _numbers(text: str, separator: str) -> tuple[int, int]:
    first, _, second = text.partition(separator)
    if not first.isdecimal() or (second and not second.isdecimal()):
        raise InputError(f"golden key holds {shown(text)}; expected sizes such as 640{separator}480")
    return int(first), int(second or 0)


def _same(key: str, computed: Array, recorded: Array) -> Finding:
    """The error is the number of entries that differ; with a wrong shape, all of them."""
    if computed.shape != recorded.shape:
        return Finding(key, float(max(recorded.size, 1)), 0.0)
    return Finding(key, float((computed != recorded).sum()), 0.0)


def _close(key: str, computed: Array, recorded: Array, bound: float) -> Finding:
    """The error is the largest absolute difference."""
    if computed.shape != recorded.shape:
        return Finding(key, float("inf"), bound)
    worst = float(np.abs(computed.astype(np.float64) - recorded).max())
    return Finding(key, worst if np.isfinite(worst) else float("inf"), bound)


def _values(key: str, computed: Tensor, recorded: Array) -> Finding:
    """The error is the largest absolute difference, divided by the largest recorded value."""
    scale = float(np.abs(recorded).max()) or 1.0
    close = _close(key, computed.float().cpu().numpy(), recorded, VALUES_BOUND)
    return Finding(key, close.error / scale, VALUES_BOUND)
