"""Loads a checkpoint's folder: weights, processor and settings become one `Model`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import torch

from phi4mm.checkpoint.hub import resolve as resolve_folder
from phi4mm.checkpoint.load import load_model as read_weights
from phi4mm.config.engine import EngineConfig, EngineMode, ResolvedEngineConfig
from phi4mm.config.json_file import read_json
from phi4mm.config.load import load_config
from phi4mm.config.model import Phi4MMConfig
from phi4mm.config.validate import is_integer, shown
from phi4mm.engine.client import EngineClient, InlineClient
from phi4mm.engine.core import Engine
from phi4mm.engine.process_client import ProcessClient
from phi4mm.engine.thread_client import ThreadClient
from phi4mm.errors import ConfigError
from phi4mm.inference.inputs import adapter_folder
from phi4mm.inference.model import Model
from phi4mm.inference.resolve import resolve_in
from phi4mm.machine import usable_cores
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.processing.processor import Processor
from phi4mm.processing.structured import Grammars
from phi4mm.processing.tokenizer import Tokenizer
from phi4mm.protocol.inputs import Adapter

M = TypeVar("M", bound=Model)
MAX_EOS_IDS = 100


@dataclass(frozen=True)
class EngineFactory:
    """Everything that is needed to make an engine. It can be pickled and sent to the worker process."""

    folder: Path
    settings: ResolvedEngineConfig
    eos_ids: tuple[int, ...]
    adapters: Mapping[Adapter, Path] = field(default_factory=dict)

    def __call__(self, tokenizer: Tokenizer | None = None) -> Engine:
        """Load the weights. With `tokenizer`, the file is not read again. Raises ConfigError, CheckpointError."""
        weights = load_weights(self.folder, self.settings)
        tokenizer = tokenizer or Tokenizer.from_folder(self.folder)
        grammars = Grammars(tokenizer, weights.config.text.vocab_size, frozenset(self.eos_ids))
        engine = Engine(
            weights,
            self.eos_ids,
            self.settings.engine_args,
            token_bytes=tokenizer.answer_bytes,
            grammars=grammars.start,
        )
        for name, folder in self.adapters.items():
            engine.load_adapter(name, folder)
        return engine


def load_model(
    model: str | os.PathLike[str],
    config: EngineConfig,
    *,
    revision: str | None = None,
    max_crops: int | None = None,
    adapters: Mapping[Adapter, str | os.PathLike[str]] | None = None,
    engine: EngineMode = "thread",
    kind: type[M],
) -> M:
    """See `phi4mm.load`. `kind` is the class of the result: `Model` or a subclass of it."""
    folder = resolve_folder(model, revision=revision)
    resolved = resolve_in(folder, config)
    info = load_config(folder)
    processor = load_processor(folder, max_crops=max_crops)
    ends = eos_ids(folder, info)
    if not isinstance(adapters, (Mapping, type(None))):
        raise ConfigError(f"adapters is {shown(adapters)}; expected a dict of names and folders")
    paths = {name: adapter_folder(name, path) for name, path in (adapters or {}).items()}
    threads = keep_within_quota() if resolved.device == "cpu" else ()
    client = _client(EngineFactory(folder, resolved, ends, paths), engine, processor.tokenizer)
    reasons = (*resolved.reasons, *threads, *client.info.reasons)
    settings = replace(resolved, engine_args=client.info.engine_args, reasons=reasons)
    return kind(client, processor, config=info, eos_ids=ends, settings=settings)


def keep_within_quota() -> tuple[str, ...]:
    """Lower torch's threads, for the whole process, to the cores that its CPU quota pays for; the reason if it did.

    More threads would wait for each other while the quota is used up. OMP_NUM_THREADS decides instead where it is set.
    """
    cores, threads = usable_cores(), torch.get_num_threads()
    if cores >= threads or "OMP_NUM_THREADS" in os.environ:
        return ()
    torch.set_num_threads(cores)
    return (f"threads {cores}: this process may use no more cores, and torch had {threads} threads",)


def _client(make: EngineFactory, mode: EngineMode, tokenizer: Tokenizer) -> EngineClient:
    if mode == "process":
        client = ProcessClient(replace(make, adapters={}), threads=torch.get_num_threads())
        try:
            for name, path in make.adapters.items():
                client.add_adapter(name, path)  # not by `make`: a new worker must start when a folder is gone
        except BaseException:
            client.close()
            raise
        return client
    if mode not in ("thread", "inline"):
        raise ConfigError(f"engine is {shown(mode)}; expected one of thread, process, inline")
    return (ThreadClient if mode == "thread" else InlineClient)(make(tokenizer))


def load_weights(folder: Path, settings: ResolvedEngineConfig) -> Phi4MM:
    """The model of the checkpoint in `folder`, with its weights. Raises ConfigError, CheckpointError."""
    return read_weights(
        folder,
        device=settings.device,
        dtype=getattr(torch, settings.dtype),
        modalities=settings.adapters,
        quantize=settings.quantize,
    )


def load_processor(folder: Path, *, max_crops: int | None = None) -> Processor:
    """The processor for the checkpoint in `folder`, which makes its prompts. Raises ConfigError, CheckpointError."""
    config = load_config(folder)
    processor = Processor.from_folder(
        folder,
        context=config.text.rope.max_positions,
        crop_size=config.vision.image_size,
        patch_size=config.vision.patch_size,
        max_crops=max_crops,
    )
    if (largest := processor.tokenizer.largest_id) >= config.text.vocab_size:
        raise ConfigError(
            f"{folder}: the tokenizer has ids up to {largest}, but vocab_size of config.json is "
            f"{config.text.vocab_size}; expected the tokenizer of this model"
        )
    return processor


def eos_ids(folder: Path, config: Phi4MMConfig) -> tuple[int, ...]:
    """Every id that ends an answer: those of generation_config.json, else those of config.json."""
    path = folder / "generation_config.json"
    if not path.exists():
        return config.eos_token_ids
    found = read_json(path).get("eos_token_id", list(config.eos_token_ids))
    ids = found if isinstance(found, list) else [found]
    if not 1 <= len(ids) <= MAX_EOS_IDS or not all(is_integer(i) and 0 <= i < config.text.vocab_size for i in ids):
        raise ConfigError(
            f"generation_config.json: eos_token_id is {shown(found)}; expected 1 to {MAX_EOS_IDS} ids below "
            f"{config.text.vocab_size}"
        )
    return tuple(ids)
