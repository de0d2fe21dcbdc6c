"""Whether the published model fits on this machine, in which form, and what to type next."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from phi4mm import machine
from phi4mm.checkpoint import hub
from phi4mm.checkpoint.contents import read_contents
from phi4mm.errors import PhiError

PUBLISHED = "microsoft/Phi-4-multimodal-instruct"
WEIGHT_BYTES = {"bfloat16": 11_148_920_768, "int8": 5_856_888_000, "int4": 3_523_740_864}  # as footprint computes them
DOWNLOAD_BYTES = WEIGHT_BYTES["bfloat16"]
CACHE_TOKEN_BYTES = 131_072
TOKENS = 4096  # of keys and values
WORK_BYTES = 2**30  # for activations, media, and torch itself
SPEED = "which a CPU answers in fastest: it reads the fewest bytes of weights"
TRY_NANO = 'phi4mm run nano "Hello."'


@dataclass(frozen=True)
class Fit:
    """What the published model needs, and finds here.

    needs     bytes of memory by form: weights, keys and values of TOKENS tokens, WORK_BYTES
    free      bytes that are free: on the CUDA device that has most, or else in main memory
    on_cuda   whether that is a CUDA device
    weights   whether the hub cache has them all, some of them, or none
    disk      bytes that are free on the disk of the hub cache
    """

    needs: dict[str, int]
    free: int
    on_cuda: bool
    weights: Literal["complete", "incomplete", "absent"]
    disk: int

    @property
    def fits(self) -> list[str]:
        """The forms that fit in memory, the most exact first."""
        return [form for form, size in self.needs.items() if size <= self.free]

    def next_command(self) -> tuple[str, str]:
        """The command to type next, and why."""
        if not self.fits:
            least = _gib(min(self.needs.values()))
            return TRY_NANO, f"the published model needs {least} of free memory, and there are {_gib(self.free)}"
        if self.weights == "absent" and self.disk < DOWNLOAD_BYTES:
            size, free = _gib(DOWNLOAD_BYTES), _gib(self.disk)
            return TRY_NANO, f"the published weights take {size} on the disk of the hub cache, and {free} are free"
        # A CPU answers as fast as it reads the weights, and int4 has the fewest bytes of them.
        form = self.fits[0] if self.on_cuda else self.fits[-1]
        why = "" if form == "bfloat16" else f", {'the most exact form with room' if self.on_cuda else SPEED}"
        option = "" if form == "bfloat16" else f" --quantize {form}"
        first = "" if self.weights == "complete" else f"; it downloads up to {_gib(DOWNLOAD_BYTES)} first"
        return f'phi4mm run {PUBLISHED}{option} "Hello."', f"the published model fits in {form}{why}{first}"


def published_fit() -> Fit:
    """The fit of the published model on this machine, now."""
    devices = [torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())]
    return Fit(
        needs={form: size + TOKENS * CACHE_TOKEN_BYTES + WORK_BYTES for form, size in WEIGHT_BYTES.items()},
        free=max(devices, default=machine.memory().free),
        on_cuda=bool(devices),
        weights=_weights(hub.cached(PUBLISHED)),
        disk=_disk_free(hub.cache_folder()),
    )


def _weights(folder: Path | None) -> Literal["complete", "incomplete", "absent"]:
    if folder is None:
        return "absent"
    try:
        read_contents(folder)
    except PhiError:
        return "incomplete"
    return "complete"


def _disk_free(folder: Path) -> int:
    """Bytes that are free where the folder is, or would be made."""
    return shutil.disk_usage(next(path for path in (folder, *folder.absolute().parents) if path.exists())).free


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
