"""The public API: `load`, and the model that it returns.

Methods of a loaded model beyond chat belong in this `Model`, which passes them to the package that implements them. So
packages below need not import the packages above them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from phi4mm.config.engine import EngineArgs, EngineConfig, EngineMode, Modalities, Quantization
from phi4mm.inference import model as inference
from phi4mm.inference.load import load_model
from phi4mm.protocol.inputs import Adapter

__all__ = ["Model", "load"]


class Model(inference.Model):
    """What `phi4mm.load` returns: a model that answers requests."""


def load(
    model: str | os.PathLike[str],
    *,
    device: str = "auto",
    dtype: str = "auto",
    modalities: Modalities = "all",
    revision: str | None = None,
    max_crops: int | None = None,
    quantize: Quantization | None = None,
    engine_args: EngineArgs | None = None,
    adapters: Mapping[Adapter, str | os.PathLike[str]] | None = None,
    engine: EngineMode = "thread",
) -> Model:
    """See `phi4mm.load`."""
    config = EngineConfig(device, dtype, modalities, quantize, engine_args or EngineArgs())
    return load_model(
        model, config, revision=revision, max_crops=max_crops, adapters=adapters, engine=engine, kind=Model
    )
