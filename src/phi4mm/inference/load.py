"""A checkpoint's folder, loaded: weights, processor and settings as one `Model`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch

from phi4mm.checkpoint.hub import resolve as resolve_folder
from phi4mm.checkpoint.load import load_model as read_weights
from phi4mm.config.engine import EngineConfig, Limits, Modalities, Quantization, ResolvedEngineConfig
from phi4mm.config.json_file import read_json
from phi4mm.config.load import load_config
from phi4mm.config.model import Phi4MMConfig
from phi4mm.engine.core import Engine
from phi4mm.errors import ConfigError
from phi4mm.inference.model import Model
from phi4mm.inference.resolve import resolve_in
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.processing.processor import Processor


def load_model(
    model: str | os.PathLike[str],
    *,
    device: str = "auto",
    dtype: str = "auto",
    modalities: Modalities = "all",
    revision: str | None = None,
    max_crops: int | None = None,
    quantize: Quantization | None = None,
    limits: Limits | None = None,
) -> Model:
    """See `phi4mm.load`."""
    folder = resolve_folder(model, revision=revision)
    engine_config = EngineConfig(device, dtype, modalities, quantize, limits or Limits())
    config = load_config(folder)
    processor = load_processor(folder, max_crops=max_crops)
    weights, resolved = load_weights(folder, engine_config)
    ends = eos_ids(folder, config)
    engine = Engine(weights, ends, resolved.limits)
    settings = replace(resolved, limits=engine.limits, reasons=(*resolved.reasons, *engine.reasons))
    return Model(engine, processor, config=config, eos_ids=ends, settings=settings)


def load_weights(folder: Path, config: EngineConfig) -> tuple[Phi4MM, ResolvedEngineConfig]:
    """The network of the checkpoint in `folder` as `config` comes out on this machine, and what it came to.

    raises  ConfigError, CheckpointError
    """
    resolved = resolve_in(folder, config)
    weights = read_weights(
        folder,
        device=resolved.device,
        dtype=getattr(torch, resolved.dtype),
        modalities=resolved.adapters,
        quantize=resolved.quantize,
    )
    return weights, resolved


def load_processor(folder: Path, *, max_crops: int | None = None) -> Processor:
    """What makes prompts for the checkpoint in `folder`. Raises ConfigError, CheckpointError."""
    config = load_config(folder)
    return Processor.from_folder(
        folder,
        context=config.text.rope.max_positions,
        crop_size=config.vision.image_size,
        patch_size=config.vision.patch_size,
        max_crops=max_crops,
    )


def eos_ids(folder: Path, config: Phi4MMConfig) -> tuple[int, ...]:
    """Every id that ends an answer: those of generation_config.json, else those of config.json."""
    path = folder / "generation_config.json"
    if not path.is_file():
        return config.eos_token_ids
    found = read_json(path).get("eos_token_id", list(config.eos_token_ids))
    ids = found if isinstance(found, list) else [found]
    if not ids or not all(isinstance(i, int) and 0 <= i < config.text.vocab_size for i in ids):
        raise ConfigError(
            f"generation_config.json: eos_token_id is {found!r}; expected ids below {config.text.vocab_size}"
        )
    return tuple(ids)
