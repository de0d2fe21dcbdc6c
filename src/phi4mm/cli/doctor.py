"""`phi4mm doctor`: what this machine can do, and what would be chosen on it, with reasons."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from phi4mm import __version__
from phi4mm.config.engine import EngineConfig

PACKAGES = ("torch", "numpy", "pillow", "soundfile", "soxr", "tokenizers", "safetensors", "huggingface_hub")
CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "amx_int8", "sve", "bf16", "i8mm")
PICTURE_CODECS = {"JPEG": "jpg", "PNG": "zlib", "TIFF": "libtiff", "WEBP": "webp"}
PUBLISHED_BYTES = 11_148_920_768
Report: TypeAlias = dict[str, dict[str, Any]]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `doctor`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the report; 0 unless the machine cannot be described."""
    report: Report = {
        "versions": versions(),
        "cpu": cpu(),
        "cuda": cuda(),
        "memory": memory(),
        "codecs": codecs(),
        "chosen": chosen(),
    }
    print(json.dumps(report) if args.json else as_text(report))
    return 0


def versions() -> dict[str, str]:
    """phi4mm, Python, the system, and the packages of the core."""
    own = {"phi4mm": __version__, "python": platform.python_version(), "system": platform.platform()}
    return own | {name: version(name) for name in PACKAGES}


def cpu() -> dict[str, Any]:
    """Cores this process may use, torch's threads, the instructions that decide speed, and the kernels in C."""
    import torch

    from phi4mm.diagnostics.benchmark import kernels_here

    info = _cpuinfo()
    flags = (info.get("flags") or info.get("features") or "").split()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "name": info.get("model name") or platform.machine(),
        "cores": cores,
        "threads": torch.get_num_threads(),
        "torch_capability": torch.backends.cpu.get_cpu_capability(),
        "features": [flag for flag in CPU_FLAGS if flag in flags],
        "kernels": kernels_here(),
    }


def cuda() -> dict[str, Any]:
    """CUDA devices by name: compute capability, bf16, free and total bytes; empty without one."""
    import torch

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
    """Bytes of main memory: `free` without swapping, and within a container's limit where there is one; `total`."""
    page = os.sysconf("SC_PAGE_SIZE")
    total, free = page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    limit = _read(Path("/sys/fs/cgroup/memory.max")).strip()
    if limit.isdigit():
        used = int(_read(Path("/sys/fs/cgroup/memory.current")) or 0)
        total, free = min(total, int(limit)), min(free, max(0, int(limit) - used))
    return {"free": free, "total": total}


def codecs() -> dict[str, list[str]]:
    """The formats of pictures and recordings that this installation decodes."""
    import soundfile
    from PIL import features

    pictures = ["BMP", "PGM", "PPM", *(name for name, codec in PICTURE_CODECS.items() if features.check(codec))]
    return {"pictures": sorted(pictures), "recordings": sorted(soundfile.available_formats())}


def chosen() -> dict[str, Any]:
    """What `load` would choose for nano and for the published model if nothing were asked for, with its reasons."""
    from phi4mm.inference.resolve import resolve

    sizes = {"nano": 0, "published": PUBLISHED_BYTES}
    return {name: asdict(resolve(EngineConfig(), weight_bytes=size)) for name, size in sizes.items()}


def as_text(report: Report) -> str:
    """The report for a person: a heading a section, a line a fact, bytes as GiB."""
    return "\n".join(_outline(report, ""))


def _outline(facts: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield f"{indent}{name}" + ("" if value else ": none")
            yield from _outline(value, indent + "  ")
        else:
            yield f"{indent}{name}: {_fact(name, value)}"


def _fact(name: str, value: Any) -> str:
    if name in ("free", "total"):
        return f"{value / 2**30:.1f} GiB"
    if isinstance(value, (list, tuple)):
        return ("; " if name == "reasons" else " ").join(map(str, value)) or "none"
    return str(value)


def _cpuinfo() -> dict[str, str]:
    """What Linux says of the first core; empty elsewhere."""
    first = _read(Path("/proc/cpuinfo")).partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _read(path: Path) -> str:
    """The text of a file that only some systems have; empty without it."""
    return path.read_text() if path.is_file() else ""
