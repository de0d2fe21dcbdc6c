"""Read small JSON files. Files that could block, never end or fill the memory are refused before they are read."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any, TypeVar

from phi4mm.config.validate import refuse_lfs_pointer
from phi4mm.errors import ConfigError, PhiError

MAX_JSON_BYTES = 4 << 20
T = TypeVar("T")


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object from a small file. Raises ConfigError with the file's name."""
    return read_json_as(path, dict, "a JSON object", ConfigError)


def read_json_as(path: Path, kind: type[T], expected: str, error: type[PhiError], limit: int = MAX_JSON_BYTES) -> T:
    """Read a JSON file of at most `limit` bytes whose outermost value is a `kind`.

    expected  what the file should contain, for messages
    raises    `error` for a file that is missing, not regular, too large, not JSON, or of another kind
    """
    if (size := regular_file_bytes(path, expected, error)) > limit:
        raise error(f"{path} has {size} bytes; expected {expected} of at most {limit}")
    try:
        with path.open("rb") as file:
            text = file.read(limit + 1)
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror}; expected {expected}") from problem
    refuse_lfs_pointer(str(path), text, error)
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise error(f"{path} cannot be read as JSON: {problem}; expected {expected}") from problem
    except ValueError:  # Python's own text advises a setting of the interpreter
        raise error(f"{path} holds a whole number of too many digits; expected {expected}") from None
    if not isinstance(value, kind):
        raise error(f"{path} holds a {type(value).__name__}; expected {expected}")
    return value


def regular_file_bytes(path: Path, expected: str, error: type[PhiError]) -> int:
    """Size of a regular file, or of one that a link names. Others are refused: a pipe could block, a device never end.

    raises  `error` for a file that is missing, cannot be reached, or is not regular
    """
    try:
        info = path.stat()
    except FileNotFoundError:
        raise error(f"{path} not found; expected {expected}") from None
    # ValueError is for a NUL in the name.
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise error(f"{path} cannot be read: {reason}; expected {expected}") from problem
    if not stat.S_ISREG(info.st_mode):
        raise error(f"{path} is not a regular file; expected {expected}")
    return info.st_size
