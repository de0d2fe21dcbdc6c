"""The native kernels (csrc/): compiled once by this machine's compiler, kept in a cache folder, and loaded.

Without a compiler everything runs in torch, only slower; `status` says why. PHI4MM_NATIVE=0 turns the kernels off.
PHI4MM_CFLAGS adds compiler flags after our own, so that tests can run the code of other processors
(-march=x86-64) or stop at undefined behaviour (-fsanitize=undefined); each set of flags is kept as its own library.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch  # noqa: F401  # loads the OpenMP library that the compiled library needs

from phi4mm.kernels.cpu.header import HEADER, Declarations, HeaderError, read_header
from phi4mm.machine import cpu_flags, cpu_name

SOURCES = sorted(Path(__file__).with_name("csrc").glob("*.[ch]"))
# OpenMP's functions stay undefined, so that they are those that torch has loaded, and both use the same threads.
FLAGS = ("-O3", "-fPIC", "-fopenmp", "-fno-math-errno", "-fno-trapping-math")
COMPILE_SECONDS = 20  # for all files together
_DIGEST_SIZE = hashlib.sha256().digest_size
_STATUS = threading.Lock()
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Library:
    """The loaded library: its functions, and the structs that they take."""

    functions: ctypes.CDLL
    structs: dict[str, type[ctypes.Structure]]


@dataclass(frozen=True)
class Status:
    """The library, or None if the native kernels do not run here; and the reason."""

    library: Library | None
    reason: str


def status() -> Status:
    """Build the library, or find it in the cache folder; once in a process, however many threads ask.

    Where that fails, or the kernels are slow on this processor, one line of the log says why: on stderr, unless logging
    is configured.
    """
    with _STATUS:  # threads that compile side by side would share the time that one is given
        return _status()


@functools.cache
def _status() -> Status:
    if os.environ.get("PHI4MM_NATIVE", "1") == "0":
        return Status(None, "turned off by PHI4MM_NATIVE=0")
    try:
        library = load(_build(), read_header(HEADER.read_text(encoding="utf-8")))
    except (OSError, HeaderError) as error:
        reason = f"the native kernels could not be built or loaded: {' '.join(str(error).split())}"
        _LOG.warning("phi4mm runs slowly: %s", reason)
        return Status(None, reason)
    if (flags := cpu_flags()) and "avx2" not in flags:
        reason = "compiled as portable C: this processor has no AVX2, for which the native kernels are written"
        _LOG.warning("phi4mm runs slowly: %s", reason)
        return Status(library, reason)
    return Status(library, "compiled for this machine")


def library() -> Library | None:
    """The native kernels, or None where they cannot run."""
    return status().library


def load(path: Path, declared: Declarations) -> Library:
    """The library at `path`. Raises OSError where it lacks a declared function or has structs of other sizes."""
    functions = ctypes.CDLL(str(path))
    for name, function in declared.functions.items():
        if not hasattr(functions, name):
            raise OSError(f"{path} has no function {name}, which kernels.h declares; delete it to rebuild")
        getattr(functions, name).argtypes = function.arguments
        getattr(functions, name).restype = function.result
    for name, struct in declared.structs.items():
        found, expected = functions.phi4mm_struct_size(name.encode()), ctypes.sizeof(struct)
        if found != expected:
            raise OSError(f"{path} has a {name} of {found} bytes; kernels.h declares {expected}; delete it to rebuild")
    return Library(functions, declared.structs)


def find_compiler() -> str | None:
    """The path of the first of cc, gcc and clang that is installed."""
    return next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)


def cache_folder() -> Path:
    """Where compiled kernels are kept. Raises OSError if other users can write to it.

    A relative XDG_CACHE_HOME is ignored, as its specification asks: code would be loaded from the working folder.
    """
    home = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(home):
        home = os.path.join(os.path.expanduser("~"), ".cache")
    if not os.path.isabs(home):
        raise OSError(f"the home folder {home!r} is no absolute path; set HOME, or XDG_CACHE_HOME")
    folder = Path(home) / "phi4mm" / "native"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = folder.stat()
    if info.st_uid != os.getuid() or stat.S_IMODE(info.st_mode) & 0o022:
        raise OSError(f"{folder} can be written by others; expected a folder that only this user may write to")
    return folder


def _build() -> Path:
    """Path of the library, which is compiled now if it is not in the cache folder, or damaged. Raises OSError."""
    compiler = find_compiler()
    if compiler is None:
        raise OSError("no C compiler is installed; install gcc or clang (cc, gcc and clang are tried)")
    native = "-mcpu=native" if platform.machine() in ("aarch64", "arm64") else "-march=native"
    added = shlex.split(os.environ.get("PHI4MM_CFLAGS", ""))
    flags = (*FLAGS, native, *added)
    # The processor's features are part of the name, since machines may share a home folder.
    key = hashlib.sha256(b"".join(source.read_bytes() for source in SOURCES))
    key.update(repr((flags, compiler, platform.machine(), cpu_name(), cpu_flags())).encode())
    path = cache_folder() / f"{key.hexdigest()[:32]}.so"
    if not _is_whole(path):
        _compile(path, compiler, flags, added)
    return path


def _is_whole(path: Path) -> bool:
    """Whether a file ends in the digest of the rest, as `_compile` wrote it; loading half a library ends a process."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return hashlib.sha256(content[:-_DIGEST_SIZE]).digest() == content[-_DIGEST_SIZE:]


def _compile(path: Path, compiler: str, flags: Sequence[str], added: Sequence[str]) -> None:
    """Write the library at `path`, whole or not at all. Raises OSError."""
    _LOG.warning("phi4mm compiles its native kernels for this machine, once")
    until = time.monotonic() + COMPILE_SECONDS
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        built = Path(work) / "native.so"
        objects = [Path(work) / f"{source.stem}.o" for source in SOURCES if source.suffix == ".c"]
        for obj in objects:
            _call(until, compiler, *flags, "-c", str(SOURCES[0].with_name(f"{obj.stem}.c")), "-o", str(obj))
        _call(until, compiler, "-shared", *added, *map(str, objects), "-o", str(built), "-lm")
        content = built.read_bytes()
        built.write_bytes(content + hashlib.sha256(content).digest())
        os.replace(built, path)


def _call(until: float, *command: str) -> None:
    """Run a command that must end by `until`, of the monotonic clock, with all that it started. Raises OSError."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            _, said = process.communicate(timeout=max(0.0, until - time.monotonic()))
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise OSError(f"{command[0]} took more than {COMPILE_SECONDS} s in all") from error
            raise
    if process.returncode:
        raise OSError(f"{command[0]} failed: {said[-500:]}")
