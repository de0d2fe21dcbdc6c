"""phi4mm: inference and training for Phi-4-multimodal. Begin with `phi4mm.load("nano")`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from phi4mm.config.engine import Device, DType, EngineArgs, EngineMode, Modalities, Quantization
from phi4mm.errors import CapacityError, CheckpointError, ConfigError, EngineError, InputError, PhiError
from phi4mm.protocol.messages import Audio, Image, Message, Tool, ToolCall
from phi4mm.protocol.request import ChatRequest, ResponseFormat
from phi4mm.protocol.response import Reply, Usage
from phi4mm.protocol.sampling import SamplingParams

if TYPE_CHECKING:
    from phi4mm.api import Model

__version__ = "0.1.0"

if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
    # OpenMP reads it when torch is loaded: waiting threads spin for microseconds, not milliseconds, and then sleep.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__all__ = [
    "Audio",
    "CapacityError",
    "ChatRequest",
    "CheckpointError",
    "ConfigError",
    "EngineArgs",
    "EngineError",
    "Image",
    "InputError",
    "Message",
    "PhiError",
    "Reply",
    "ResponseFormat",
    "SamplingParams",
    "Tool",
    "ToolCall",
    "Usage",
    "load",
]


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
    adapters: Mapping[str, str | os.PathLike[str]] | None = None,
    engine: EngineMode = "thread",
) -> Model:
    """Load `nano`, a folder or a model of a hub, ready to chat.

    model        "nano", a folder, or the id of a model on a hub
    device       "auto", "cpu", "cuda" or "cuda:1"; the number of a GPU, or a torch.device; None is "auto"
    dtype        "auto", "float32", "bfloat16" or "float16"; or a torch.dtype; None is "auto"
    modalities   "all"; "text", "vision" or "speech" do not load the other towers and adapters
    revision     branch, tag or commit of a hub id
    max_crops    the largest number of crops of one image, 1 to 64; default: the checkpoint's value, 36 as published
    quantize     "int8" or "int4" quantizes the weights while they are read; None loads them as they are in the folder
                 (those of a folder made by `phi4mm quantize` are quantized already)
    engine_args  how many sequences and tokens run together, and in how much memory, or a dict of these; default: the
                 caches get at most half of the free memory
    adapters     more LoRAs by name, each a PEFT folder; a request chooses one with `adapter`
    engine       where the engine runs: "thread": in a thread of its own; "process": in a process of its own, which is
                 started again when it dies; "inline": in the thread that waits for an answer, for one thread at a time
    raises       ConfigError, CheckpointError
    """
    from phi4mm import api

    return api.load(
        model,
        device=device,
        dtype=dtype,
        modalities=modalities,
        revision=revision,
        max_crops=max_crops,
        quantize=quantize,
        engine_args=engine_args,
        adapters=adapters,
        engine=engine,
    )
