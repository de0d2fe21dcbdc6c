"""A prompt on its way out of a process that decodes media: lengths and shapes as JSON, all numbers as raw bytes.

Nothing is unpickled of what that process sends: a fault of a decoder may have given it to whoever made the media.
"""

from __future__ import annotations

import json
import math
import socket
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from phi4mm.processing.audio import MEL_BINS
from phi4mm.processing.processor import media_digest
from phi4mm.protocol.inputs import AudioFrames, ImageCrops, ImageTiles, MediaData, MediaSpan, Prompt

MAX_HEAD = 2**20  # bytes of the JSON
MAX_ARRAYS = 2**30  # bytes of all arrays
_LENGTH = struct.Struct("<Q")
_ID = np.dtype("<u4")


class WireError(Exception):
    """What arrived is no answer of the process at the other end."""


def send_bytes(end: socket.socket, body: bytes) -> None:
    """Send bytes with their length before them. Raises OSError when the other end is closed."""
    end.sendall(_LENGTH.pack(len(body)))
    end.sendall(body)


def receive_bytes(end: socket.socket, most: int) -> bytearray:
    """What `send_bytes` sent, at most `most` bytes. Raises EOFError when the other end is closed, WireError."""
    length = bytearray(_LENGTH.size)
    _fill(end, memoryview(length))
    (size,) = _LENGTH.unpack(length)
    if size > most:
        raise WireError(f"{size} bytes; expected at most {most}")
    body = bytearray(size)
    _fill(end, memoryview(body))
    return body


def send_head(end: socket.socket, **head: object) -> None:
    """Send a JSON object. Raises OSError when the other end is closed."""
    send_bytes(end, json.dumps(head).encode())


def receive_head(end: socket.socket) -> dict[str, Any]:
    """What `send_head` sent. Raises EOFError when the other end is closed, WireError."""
    try:
        head = json.loads(receive_bytes(end, MAX_HEAD))
    except (ValueError, RecursionError):
        raise WireError("no JSON") from None
    if not isinstance(head, dict):
        raise WireError("no JSON object")
    return head


def send_prompt(end: socket.socket, prompt: Prompt) -> None:
    """Send a prompt. Raises OSError when the other end is closed."""
    send_head(end, ids=len(prompt.ids), spans=[_head(span) for span in prompt.spans])
    end.sendall(np.array(prompt.ids, _ID).data)
    for span in prompt.spans:
        end.sendall(np.ascontiguousarray(_array(span.data)).data.cast("B"))


def receive_prompt(end: socket.socket, head: dict[str, Any], vocabulary: int) -> Prompt:
    """The prompt whose head has arrived, with ids below `vocabulary`. Raises EOFError, WireError."""
    match head:
        case {"ids": int(count), "spans": [*heads]} if count >= 0:
            forms = [_form(each, count) for each in heads]
        case _:
            raise WireError("no prompt")
    if _ID.itemsize * count + sum(math.prod(shape) * dtype.itemsize for shape, dtype in forms) > MAX_ARRAYS:
        raise WireError(f"more than {MAX_ARRAYS} bytes")
    ids = _receive_array(end, (count,), _ID)
    if ids.max(initial=0) >= vocabulary:
        raise WireError("ids beyond the vocabulary")
    spans = (_receive_span(end, each, *form) for each, form in zip(heads, forms, strict=True))
    return Prompt(tuple(ids.tolist()), tuple(spans))


def _head(span: MediaSpan) -> dict[str, Any]:
    data = span.data
    head = {"start": span.start, "length": span.length, "shape": _array(data).shape}
    if isinstance(data, ImageCrops):
        return head | {"grid": data.grid, "valid": data.valid, "side": data.side}
    assert isinstance(data, AudioFrames)
    return head | {"seconds": data.seconds}


def _array(data: MediaData) -> npt.NDArray[Any]:
    assert not isinstance(data, ImageTiles)  # which no processor makes
    return data.crops if isinstance(data, ImageCrops) else data.features


def _form(head: object, ids: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and dtype of a span's array. Raises WireError for anything that `_head` does not make."""
    match head:
        case {
            "start": int(start),
            "length": int(length),
            "shape": [int(count), int(height), int(width), 3],
            "grid": [int(rows), int(columns)],
            "valid": [int(across), int(down)],
            "side": int(side),
        } if min(count, height, rows, columns, across, down, side) > 0 and height == width:
            shape: tuple[int, ...] = (count, height, width, 3)
            dtype: np.dtype[Any] = np.dtype("u1")
        case {"start": int(start), "length": int(length), "shape": [int(count), int(bins)], "seconds": float()} if (
            count > 0 and bins == MEL_BINS
        ):
            shape, dtype = (count, bins), np.dtype("<f4")
        case _:
            raise WireError("no span")
    if start < 0 or length < 1 or start + length > ids:
        raise WireError("a span beyond the ids")
    return shape, dtype


def _receive_span(end: socket.socket, head: dict[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> MediaSpan:
    image = "grid" in head
    array = _receive_array(end, shape, dtype)
    data: MediaData
    if image:
        data = ImageCrops(array, tuple(head["grid"]), tuple(head["valid"]), head["side"])
    else:
        data = AudioFrames(array, head["seconds"])
    # The digest is computed here: a forged one would find the cached output of somebody else's media.
    return MediaSpan("image" if image else "audio", head["start"], head["length"], media_digest(data), data)


def _receive_array(end: socket.socket, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    array = np.empty(shape, dtype)
    if array.size:
        _fill(end, array.data.cast("B"))
    return array


def _fill(end: socket.socket, into: memoryview) -> None:
    while into:
        try:
            got = end.recv_into(into)
        except OSError:
            got = 0
        if not got:
            raise EOFError("the other end is closed")
        into = into[got:]
