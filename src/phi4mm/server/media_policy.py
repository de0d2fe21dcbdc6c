"""Which images and audio clips of a request are taken: inline data, and by permission URLs and local files."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from phi4mm.config.validate import integer, is_number, shown, shown_path
from phi4mm.errors import ConfigError
from phi4mm.protocol.messages import Audio, Image, Message, Part
from phi4mm.server.fetching import HOST, PORT, fetch
from phi4mm.server.local_media import read_below
from phi4mm.server.media_error import MediaError

_DOMAIN = re.compile(rf"{HOST}(?::{PORT})?", re.ASCII)
MOST_BYTES = 2**30  # of one media item: what audio files may have at most


@dataclass(frozen=True)
class MediaPolicy:
    """Bounds of the media in one request. By default only inline data are taken.

    allowed_domains  hosts from which URLs are fetched, as `host` or `host:port`; each name must resolve to public
                     addresses alone
    local_folder     folder below which `file:` URLs are read; links in it are not followed
    max_items        images and audio clips of a request
    max_item_bytes   encoded bytes of one
    max_total_bytes  encoded bytes of all
    fetch_seconds    for one URL, redirects included
    max_redirects    of one URL
    raises           ConfigError
    """

    allowed_domains: tuple[str, ...] = ()
    local_folder: Path | None = None
    max_items: int = 64
    max_item_bytes: int = 64 * 2**20
    max_total_bytes: int = 256 * 2**20
    fetch_seconds: float = 10.0
    max_redirects: int = 3

    def __post_init__(self) -> None:
        for domain in self.allowed_domains:
            if not _DOMAIN.fullmatch(domain):
                raise ConfigError(f"allowed domain {shown(domain)}; expected a host or host:port in small letters")
        integer("max_items", self.max_items, 0, 128, error=ConfigError)
        integer("max_item_bytes", self.max_item_bytes, 1, MOST_BYTES, error=ConfigError)
        integer("max_total_bytes", self.max_total_bytes, 1, 2**40, error=ConfigError)
        if not is_number(self.fetch_seconds) or not 0 < self.fetch_seconds <= 3600:
            raise ConfigError(f"fetch_seconds is {shown(self.fetch_seconds)}; expected a number above 0 up to 3600")
        integer("max_redirects", self.max_redirects, 0, 20, error=ConfigError)
        if self.local_folder is not None:
            if not self.local_folder.is_dir():
                raise ConfigError(f"local_folder {shown_path(self.local_folder)} is no folder; make it first")
            object.__setattr__(self, "local_folder", self.local_folder.resolve())

    async def resolve(self, messages: Sequence[Message]) -> list[Message]:
        """The messages with bytes, or a data URI as it was, in every image and audio clip.

        raises  MediaError, which names the media item by its number
        """
        media = sum(not isinstance(part, str) for message in messages for part in message.parts)
        if media > self.max_items:
            raise MediaError(f"the request has {media} images and audio clips; expected at most {self.max_items}")
        left, counts, resolved = self.max_total_bytes, Counter[str](), []
        for message in messages:
            parts: list[Part] = []
            for part in message.parts:
                if not isinstance(part, str):
                    kind = "image" if isinstance(part, Image) else "audio"
                    counts[kind] += 1
                    part, size = await self._resolved(part, f"{kind} {counts[kind]}", left)
                    left -= size
                parts.append(part)
            resolved.append(replace(message, parts=tuple(parts)))
        return resolved

    async def _resolved(self, part: Image | Audio, name: str, left: int) -> tuple[Image | Audio, int]:
        """The part with its data, and their size in bytes."""
        limit = min(self.max_item_bytes, left)
        try:
            source = await self._data(part.source, limit)
            # Base64 is decoded where the image is: here the event loop would wait for it.
            size = len(source) if isinstance(source, bytes) else (len(source) - source.find(",") - 1) * 3 // 4
            if size > limit:
                raise MediaError(
                    f"it has {size} bytes; at most {self.max_item_bytes} are taken of one image or audio clip, "
                    f"and {self.max_total_bytes} of all in a request",
                    413,
                )
        except MediaError as error:
            raise MediaError(f"{name}: {error}", error.status) from None
        return replace(part, source=source), size

    async def _data(self, source: object, limit: int) -> bytes | str:
        if isinstance(source, bytes):
            return source
        scheme = source.partition(":")[0].lower() if isinstance(source, str) else ""
        if isinstance(source, str) and scheme == "data":
            return source
        if isinstance(source, str) and scheme in ("http", "https"):
            return await fetch(
                source,
                allowed=self.allowed_domains,
                limit=limit,
                seconds=self.fetch_seconds,
                redirects=self.max_redirects,
            )
        if isinstance(source, str) and scheme == "file" and self.local_folder is not None:
            return await asyncio.to_thread(read_below, self.local_folder, source, limit)
        raise MediaError("it is neither a data URI nor a URL that is allowed here; send data:TYPE;base64,DATA")
