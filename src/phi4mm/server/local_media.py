"""Reads media files below one folder, and nothing outside of it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from urllib.parse import unquote

from phi4mm.server.media_error import MediaError


def read_below(folder: Path, url: str, limit: int) -> bytes:
    """The bytes of a regular file that a `file:` URL names by its path within the folder, or by its absolute path.

    folder  absolute, without symbolic links
    raises  MediaError, the same one for what is outside, missing, a link or no regular file
    """
    parts = _parts(folder, url)
    if not parts or not {"", ".", ".."}.isdisjoint(parts) or any("\0" in part for part in parts):
        raise _missing()
    try:
        # Each part is opened within the one before and no link is followed: nothing can be swapped in between.
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        for part in parts[:-1]:
            descriptor = _open_within(descriptor, part, os.O_DIRECTORY)
        descriptor = _open_within(descriptor, parts[-1], os.O_NONBLOCK)  # a pipe would wait for its writer
    except (OSError, ValueError):  # ValueError: a name that cannot be encoded
        raise _missing() from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _missing()
    with open(descriptor, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise MediaError(f"it has more than the {limit} bytes that are left for it; send a smaller one", 413)
    return data


def _parts(folder: Path, url: str) -> list[str]:
    """The names below the folder; none for an absolute path to elsewhere."""
    path = unquote(url[len("file:") :].removeprefix("//"), errors="surrogateescape")
    if not path.startswith("/"):
        return path.split("/")
    inside = f"{folder}/"
    return path.removeprefix(inside).split("/") if path.startswith(inside) else []


def _open_within(parent: int, name: str, flags: int) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | flags, dir_fd=parent)
    finally:
        os.close(parent)


def _missing() -> MediaError:
    return MediaError("there is no such file in the folder of local media", 422)
