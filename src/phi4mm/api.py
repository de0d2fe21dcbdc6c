"""The public face: `load`, and the model that it returns."""

from __future__ import annotations

import os

from phi4mm.config.engine import Limits, Modalities, Quantization
from phi4mm.inference import load as loading
from phi4mm.inference.model import Model

__all__ = ["Model", "load"]


def load(
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
    return loading.load_model(
        model,
        device=device,
        dtype=dtype,
        modalities=modalities,
        revision=revision,
        max_crops=max_crops,
        quantize=quantize,
        limits=limits,
    )
