"""Open encoded media, given as a path or as bytes, with a limit on the size."""

from __future__ import annotations

import io
import os
import stat
from typing import BinaryIO

from phi4mm.errors import InputError


def open_source(source: object, kind: str, limit: int) -> BinaryIO:
    """Open encoded media for reading; the caller closes it.

    source  a path or bytes
    kind    "image" or "audio clip", for messages
    limit   the largest size in bytes
    raises  InputError if it is neither, missing, not a regular file, unreadable, empty or too large
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        _check_size(len(source), f"the {kind}", limit)
        return io.BytesIO(source)
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(f"an {kind} is a {type(source).__name__}; expected a path, bytes or an array")
    name = f"{kind} {os.fspath(source)!r}"
    try:
        # A pipe or device could block without end, so only regular files are opened.
        status = os.stat(source)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{name} is not a regular file; give the path of a file")
        _check_size(status.st_size, name, limit)
        return open(source, "rb")
    except FileNotFoundError:
        raise InputError(f"{name} does not exist; give the path of a file, or its bytes") from None
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from error
    except InputError:
        raise
    except ValueError:
        raise InputError(f"{name} is not a possible path; give the path of a file") from None


def _check_size(size: int, name: str, limit: int) -> None:
    if size == 0:
        raise InputError(f"{name} is empty (0 bytes); give a file with data")
    if size > limit:
        raise InputError(f"{name} has {size} bytes; expected at most {limit}")
