"""The features of this machine, and the settings that would be chosen on it, with reasons."""

from __future__ import annotations

import importlib.util
import platform
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, TypeAlias

import PIL.features
import soundfile
import torch

from phi4mm import machine
from phi4mm.checkpoint import hub
from phi4mm.config.engine import EngineConfig
from phi4mm.diagnostics.fit import DOWNLOAD_BYTES, published_fit
from phi4mm.inference.resolve import resolve
from phi4mm.kernels.cpu import library
from phi4mm.processing.audio_file import FORMATS, MEDIA_FORMATS

Report: TypeAlias = dict[str, dict[str, Any]]
PACKAGES = ("torch", "numpy", "pillow", "soundfile", "soxr", "tokenizers", "safetensors", "huggingface_hub")
CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "amx_int8", "sve", "bf16", "i8mm")
IMAGE_CODECS = {"JPEG": "jpg", "PNG": "zlib", "TIFF": "libtiff", "WEBP": "webp"}
EXTRAS = {  # the module that an extra installs, and what it brings
    "media": ("av", "audio of M4A, MP4, MOV, WebM, Matroska and MP2"),
    "structured": ("llguidance", "answers by JSON schema, regular expression or choice"),
    "eval": ("sacrebleu", "BLEU for `phi4mm eval nano`"),
    "train": ("espeakng_loader", "speech for `phi4mm train nano`"),
}


def describe() -> Report:
    """All reports of this module by name, as plain values for JSON."""
    return {
        "versions": versions(),
        "cpu": cpu(),
        "cuda": cuda(),
        "memory": memory(),
        "codecs": codecs(),
        "extras": extras(),
        "folders": folders(),
        "chosen": chosen(),
        **published(),
    }


def versions() -> dict[str, str]:
    """phi4mm, Python, the system, and the required packages."""
    return {
        "phi4mm": version("phi4mm"),
        "python": platform.python_version(),
        "system": platform.platform(),
        **{name: version(name) for name in PACKAGES},
    }


def cpu() -> dict[str, Any]:
    """Usable cores, the CPU quota, torch's threads, instruction sets that decide speed, C compiler and kernels."""
    flags = machine.cpu_flags()
    return {
        "name": machine.cpu_name(),
        "cores": machine.usable_cores(),
        "quota": machine.cpu_quota(),
        "threads": torch.get_num_threads(),
        "torch_capability": torch.backends.cpu.get_cpu_capability(),
        "features": [flag for flag in CPU_FLAGS if flag in flags],
        "compiler": library.find_compiler() or "none: install gcc or clang",
        "kernels": kernels(),
    }


def kernels() -> str:
    """Whether the C kernels run on this machine, and if not, why."""
    status = library.status()
    return status.reason if status.library is not None else f"slow, through torch: {status.reason}"


def cuda() -> dict[str, Any]:
    """CUDA devices by name: compute capability, bf16, free and total bytes; empty without one."""
    devices: dict[str, Any] = {}
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        major, minor = torch.cuda.get_device_capability(index)
        devices[f"cuda:{index}"] = {
            "name": torch.cuda.get_device_name(index),
            "capability": f"{major}.{minor}",
            "bfloat16": major >= 8,
            "free": free,
            "total": total,
        }
    return devices


def memory() -> dict[str, int]:
    """Bytes of main memory: `free` is usable without swapping and within a container's limit, if any; `total`."""
    return machine.memory()._asdict()


def codecs() -> dict[str, list[str]]:
    """The formats of images and audio clips that this installation decodes."""
    images = ["BMP", "GIF", "PGM", "PPM", *(name for name, codec in IMAGE_CODECS.items() if PIL.features.check(codec))]
    audio = [name for name in FORMATS if name in soundfile.available_formats()]
    if _installed("av"):
        audio += MEDIA_FORMATS
    return {"images": sorted(images), "audio clips": sorted(audio)}


def chosen() -> dict[str, Any]:
    """The settings that `load` would choose by default for nano and for the published model, with its reasons."""
    sizes = {"nano": 0, "published": DOWNLOAD_BYTES}
    return {name: asdict(resolve(EngineConfig(), weight_bytes=size)) for name, size in sizes.items()}


def extras() -> dict[str, str]:
    """What each extra brings, and how to install one that is missing."""
    return {
        name: brings if _installed(module) else f"missing: {brings}; pip install 'phi4mm[{name}]'"
        for name, (module, brings) in EXTRAS.items()
    }


def folders() -> dict[str, str]:
    """Where the compiled kernels and the downloaded models are kept."""
    try:
        compiled = str(library.cache_folder())
    except OSError as error:
        compiled = f"none: {error}"
    return {"kernels": compiled, "hub cache": str(hub.cache_folder())}


def published() -> Report:
    """Whether the published model fits, in which forms, and the command to type next."""
    fit = published_fit()
    command, reason = fit.next_command()
    return {
        "published": {"needs": fit.needs, "fits": fit.fits, "weights": fit.weights, "disk": fit.disk},
        "next": {"reason": reason, "command": command},
    }


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
