"""Reads the JSON body of a request into a Struct, within bounds of size and time."""

from __future__ import annotations

import asyncio
import re
from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from phi4mm.config.validate import nearest, shown
from phi4mm.server.errors import ApiError
from phi4mm.server.fields import refused

S = TypeVar("S", bound=msgspec.Struct)
BODY_SECONDS = 60.0  # until the whole body has arrived
# Values and texts are decoded in one call that no thread can interrupt: this many take 0.03 s.
MARKS, MAX_MARKS = b",:[{", 2**18
_AT = re.compile(r" - at `(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)


async def read_bytes(request: Request, limit: int) -> bytes:
    """The body.

    raises  ApiError for one of more than `limit` bytes or more than MAX_MARKS MARKS, and one that comes too slowly
    """
    too_large = ApiError(413, f"the body has more than {limit} bytes, the most that this server takes")
    if int(request.headers.get("content-length", "0")) > limit:
        raise too_large
    body, marks = bytearray(), 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > limit:
                    raise too_large
                marks += sum(map(piece.count, MARKS))
                if marks > MAX_MARKS:
                    raise ApiError(
                        400, f"the body has more than {MAX_MARKS} commas, colons, [ and {{; send less at once"
                    )
    except TimeoutError:
        raise ApiError(408, f"the body did not arrive within {BODY_SECONDS:g} seconds") from None
    except ClientDisconnect:
        raise ApiError(499, "the client left before its body had arrived") from None
    return bytes(body)


async def read_json(request: Request, kind: type[S], limit: int) -> S:
    """The body as a `kind`. Raises ApiError, which names the field that is wrong in `param`."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":  # a page of another origin cannot send it without asking
        raise ApiError(415, f"content-type is {shown(content_type)}; expected application/json")
    return decode(await read_bytes(request, limit), kind)


def decode(body: bytes, kind: type[S]) -> S:
    """JSON as a `kind`. Raises ApiError."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), kind) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, f"the body is not JSON: {error!s:.200}") from None
    except RecursionError:
        raise ApiError(400, "the body is nested too deeply") from None


def _invalid(message: str, kind: type[msgspec.Struct]) -> ApiError:
    at = _AT.search(message)
    path = at["path"].removeprefix("$").removeprefix(".") if at else ""
    text = message[: at.start()] if at else message
    if unknown := _UNKNOWN.match(text):
        name = unknown["name"]
        where = f"{path}.{name:.60}".lstrip(".")
        if not path and (reason := refused(kind).get(name)):
            return ApiError(400, f"{name} is not supported: {reason}", param=name, code="unsupported_parameter")
        known = f"; {nearest(name[:60], kind.__struct_fields__)}" if not path else ""
        return ApiError(400, f"unknown field {shown(name)}{known}", param=where, code="unknown_parameter")
    return ApiError(400, f"{path or 'the body'}: {text[:1].lower()}{text[1:300]}", param=path or None)
