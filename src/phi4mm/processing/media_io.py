"""Open encoded media: a path, bytes, a data URI or a file object, with a limit on the size."""

from __future__ import annotations

import base64
import binascii
import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from phi4mm.config.validate import LFS_HEAD, refuse_lfs_pointer, shown, shown_path
from phi4mm.errors import InputError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_BASE64 = re.compile(r"[A-Za-z0-9+/_=\s-]{200,}")


@contextmanager
def open_source(source: object, kind: str, limit: int) -> Iterator[BinaryIO]:
    """Open encoded media for reading. An InputError that is raised within names the file.

    source  a path (`~` is the home folder), bytes, a data URI in base64, or a binary file object, which is read from
            where it stands and then put back there
    kind    "image" or "audio clip", for messages
    limit   the largest size in bytes
    raises  InputError if it is none of these, a URL (nothing is fetched), missing, not a regular file, unreadable,
            empty or too large
    """
    if isinstance(source, os.PathLike):
        source = _as_text(source, kind)
    name = source if isinstance(source, (str, os.PathLike)) else getattr(source, "name", None)
    if isinstance(source, str) and source[:5].lower() == "data:":
        file: BinaryIO = io.BytesIO(_of_data_uri(source, kind, limit))
        name = None
    elif isinstance(source, str):
        file = _of_path(source, kind, limit)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        _check_size(len(source), f"the {kind}", limit)
        file = io.BytesIO(source)
    elif hasattr(source, "read"):
        file = io.BytesIO(_of_file_object(source, kind, limit))
    else:
        raise InputError(
            f"an {kind} is of type {type(source).__name__}; expected a path, bytes, a file object or an array"
        )
    with file:
        try:
            refuse_lfs_pointer(f"the {kind}", file.read(len(LFS_HEAD)), InputError)
            file.seek(0)
            yield file
        except InputError as error:
            if not isinstance(name, (str, os.PathLike)):
                raise
            raise InputError(f"{shown_path(name)}: {error}") from error


def as_array(source: object) -> object:
    """A torch tensor, or an array of another library, as a NumPy array; anything else as it is. Raises InputError."""
    if isinstance(source, np.ndarray) or not hasattr(source, "__array__"):
        return source
    tensor: Any = source
    try:
        if hasattr(tensor, "detach"):  # a torch tensor; this package knows no torch
            tensor = tensor.detach().cpu()
            tensor = tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor
        return np.asarray(tensor)
    except Exception as error:  # whatever another library raises
        raise InputError(f"a {type(source).__name__} cannot be read as an array: {error!s:.80}") from error


def decode_base64(text: str, name: str, limit: int) -> bytes:
    """The bytes of base64, which may have line breaks. Raises InputError, in which they are called `name`."""
    if len(text) // 4 * 3 > limit + limit // 8:
        raise InputError(f"{name} has {len(text)} letters of base64; expected at most {limit} bytes")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"{name} is not base64: {error}") from None


def _of_data_uri(uri: str, kind: str, limit: int) -> bytes:
    head, comma, data = uri.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise InputError(f"{kind} {shown(uri)} is a data URI that is not in base64; expected data:TYPE;base64,DATA")
    decoded = decode_base64(data, f"the data URI of the {kind}", limit)
    _check_size(len(decoded), f"the data URI of the {kind}", limit)
    return decoded


def _as_text(path: os.PathLike[str], kind: str) -> str:
    try:
        return os.fsdecode(path)
    except Exception as error:  # of somebody else's __fspath__
        raise InputError(f"the {kind}'s {type(path).__name__} is no path ({error!s:.80}); give one as text") from error


def _of_path(source: str, kind: str, limit: int) -> BinaryIO:
    name = f"{kind} {shown_path(source)}"
    if _URL.match(source):
        raise InputError(f"{name} is a URL, and nothing is fetched here; download it, and give its path or its bytes")
    path = os.path.expanduser(source)
    try:
        # A pipe or device could block without end, so only regular files are opened.
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{name} is not a regular file; give the path of a file")
        _check_size(status.st_size, name, limit)
        return open(path, "rb")
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if _BASE64.fullmatch(source):
            raise InputError(
                f"{name} looks like base64, where a path is expected; give its bytes, as base64.b64decode makes them"
            ) from None
        if isinstance(error, FileNotFoundError):
            raise InputError(f"{name} does not exist; give the path of a file, or its bytes") from None
        if isinstance(error, OSError):
            raise InputError(f"{name} cannot be read: {error.strerror}") from error
        raise InputError(f"{name} is not a possible path; give the path of a file") from None


def _of_file_object(source: Any, kind: str, limit: int) -> bytes:
    try:
        position = source.tell()
        data = source.read(limit + 1)
        source.seek(position)
    except Exception as error:  # it cannot seek, is closed, or is somebody's own
        raise InputError(f"the {kind}'s file object cannot be read ({error!s:.80}); give its bytes") from error
    if not isinstance(data, bytes):
        raise InputError(f"the {kind}'s file object reads {type(data).__name__}; open the file in binary mode, 'rb'")
    _check_size(len(data), f"the {kind}'s file object, from where it stands,", limit)
    return data


def _check_size(size: int, name: str, limit: int) -> None:
    if size == 0:
        raise InputError(f"{name} is empty (0 bytes); give a file with data")
    if size > limit:
        raise InputError(f"{name} has {size} bytes; expected at most {limit}")
