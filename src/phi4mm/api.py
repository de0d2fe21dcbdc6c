"""The public API: `load`, and the model that it returns.

Methods of a loaded model beyond chat belong in this `Model`, which passes them to the package that implements them. So
packages below need not import the packages above them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from phi4mm.config.engine import (
    Device,
    DType,
    EngineArgs,
    EngineConfig,
    EngineMode,
    Modalities,
    Quantization,
    as_engine_args,
)
from phi4mm.inference import model as inference
from phi4mm.inference.load import load_model
from phi4mm.inference.resolve import device_name, dtype_name
from phi4mm.protocol.inputs import Adapter

__all__ = ["Model", "load"]


class Model(inference.Model):
    """What `phi4mm.load` returns: a model that answers requests."""


def load(
    model: str | os.PathLike[str],
    *,
    device: Device = "auto",
    dtype: DType = "auto",
    modalities: Modalities = "all",
    revision: str | None = None,
    max_crops: int | None = None,
    quantize: Quantization | None = None,
    engine_args: EngineArgs | Mapping[str, Any] | None = None,
    adapters: Mapping[Adapter, str | os.PathLike[str]] | None = None,
    engine: EngineMode = "thread",
) -> Model:
    """See `phi4mm.load`."""
    config = EngineConfig(device_name(device), dtype_name(dtype), modalities, quantize, as_engine_args(engine_args))
    return load_model(
        model, config, revision=revision, max_crops=max_crops, adapters=adapters, engine=engine, kind=Model
    )
