"""The C twins of some kernels (folder c): compiled once for this machine by its own compiler, kept in a cache folder.

Without a compiler everything runs through torch, only slower; `status` says why. PHI4MM_NATIVE=0 turns the twins off.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch  # noqa: F401  # brings the OpenMP that the compiled library looks for

from phi4mm.machine import cpu_flags, cpu_name

SOURCES = sorted(Path(__file__).with_name("csrc").glob("*.[ch]"))
# GOMP's functions are left undefined: they are those of the OpenMP that torch has loaded, so both share its threads.
FLAGS = ("-O3", "-fPIC", "-fopenmp", "-fno-math-errno", "-fno-trapping-math")
COMPILE_SECONDS = 120
_P, _L, _I = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
ARGUMENTS = {
    "phi4mm_packed": (_P, _I, _L, _L, _P, _P, _I, _L, _P, _L, ctypes.c_float, _P, _I),
    "phi4mm_bf16": (_P, _L, _L, _P, _L, _P, _P, _I),
    "phi4mm_decode": (_P, _I, _L, _L, _L, _P, _P, _I, _P, _P, _L, _L, _P, _L, _P, _L, _P, _P, _I),
    "phi4mm_rms_norm": (_P, _I, _L, _L, _P, ctypes.c_float, _P, _I),
    "phi4mm_rotate": (_P, _I, _L, _L, _L, _L, _P, _P, _L, _I),
    "phi4mm_swiglu": (_P, _I, _L, _L, _P, _I),
    "phi4mm_unpack": (_P, _P, _I, _L, _L, _L, _P, _I, _L, _I),
}  # of the functions that return nothing


@dataclass(frozen=True)
class Status:
    """Whether the C twins run here, and why not or from where."""

    library: ctypes.CDLL | None
    reason: str


@functools.cache
def status() -> Status:
    """Build or find the library, once a process."""
    if os.environ.get("PHI4MM_NATIVE", "1") == "0":
        return Status(None, "turned off by PHI4MM_NATIVE=0")
    try:
        path = _build()
        library = ctypes.CDLL(str(path))
    except OSError as error:
        return Status(None, f"the C kernels could not be built or loaded: {error}")
    for name, arguments in ARGUMENTS.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, None
    library.phi4mm_place.argtypes = (_P, _L, _L, _L, _P, _P, _L)
    library.phi4mm_place.restype = _I
    library.phi4mm_decode_scratch.argtypes = (_L, _L, _L, _L)
    library.phi4mm_decode_scratch.restype = _L
    library.phi4mm_packed_scratch.argtypes = (_L, _L, _I)
    library.phi4mm_packed_scratch.restype = _L
    library.phi4mm_layers.argtypes = (_P, _P, _P, _P, _I, _P, _I)
    library.phi4mm_layers.restype = _I
    library.phi4mm_layers_scratch.argtypes = (_P, _L, _L)
    library.phi4mm_layers_scratch.restype = _L
    return Status(library, "compiled for this machine")


def library() -> ctypes.CDLL | None:
    """The C twins, or None where they cannot run."""
    return status().library


def cache_folder() -> Path:
    """Where compiled kernels are kept: a folder that belongs to this user alone. Raises OSError."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(home) / "phi4mm" / "native"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o022:
        raise OSError(f"{folder} can be written by others; expected a folder of this user's own")
    return folder


def _build() -> Path:
    """The compiled library, compiled now if this source was never compiled on such a machine. Raises OSError."""
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        raise OSError("no C compiler (cc, gcc or clang) is installed")
    native = "-mcpu=native" if platform.machine() in ("aarch64", "arm64") else "-march=native"
    flags = (*FLAGS, native)
    # What this processor can do is part of the name: a home folder may be shared between machines.
    key = hashlib.sha256(b"".join(source.read_bytes() for source in SOURCES))
    key.update(repr((flags, compiler, platform.machine(), cpu_name(), cpu_flags())).encode())
    path = cache_folder() / f"{key.hexdigest()[:32]}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=path.parent) as work:
            made = Path(work) / "native.so"
            objects = [Path(work) / f"{source.stem}.o" for source in SOURCES if source.suffix == ".c"]
            for made_of in objects:
                _call(compiler, *flags, "-c", str(SOURCES[0].with_name(f"{made_of.stem}.c")), "-o", str(made_of))
            _call(compiler, "-shared", *map(str, objects), "-o", str(made), "-lm")
            os.replace(made, path)
    return path


def _call(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=COMPILE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{command[0]} took more than {COMPILE_SECONDS} s") from error
    except subprocess.CalledProcessError as error:
        raise OSError(f"{command[0]} failed: {error.stderr[-500:]}") from error
