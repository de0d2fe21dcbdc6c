"""Messages or a raw prompt, with media, to a Prompt: the entry point of processing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from phi4mm.config.json_file import read_json
from phi4mm.config.validate import is_integer, shown
from phi4mm.errors import ConfigError, InputError
from phi4mm.processing.audio import MAX_AUDIOS, audio_tokens, log_mel, open_audio
from phi4mm.processing.chat_template import render, resolve_marks
from phi4mm.processing.image import MAX_IMAGES, ImageProcessor, crop_limit, image_tokens, open_image
from phi4mm.processing.tokenizer import Special, Tokenizer
from phi4mm.processing.tool_calls import as_tool
from phi4mm.protocol.inputs import AudioFrames, ImageCrops, ImageTiles, MediaData, MediaSpan, Prompt
from phi4mm.protocol.messages import Audio, Image, Message, Tool

_FIXED = {"audio_compression_rate": 8, "audio_downsample_rate": 1, "audio_feat_stride": 1}


@dataclass(frozen=True)
class Processor:
    """Turns what a person writes into what the model receives. `context` is the most tokens a prompt may have."""

    tokenizer: Tokenizer
    images: ImageProcessor
    context: int

    @classmethod
    def from_folder(
        cls, folder: Path, *, context: int, crop_size: int = 448, patch_size: int = 14, max_crops: int | None = None
    ) -> Processor:
        """Read tokenizer.json, and preprocessor_config.json if it is there, from a checkpoint's folder.

        max_crops  of one image; by default the file's `dynamic_hd`, else 36
        raises     CheckpointError, ConfigError
        """
        stated = _dynamic_hd(folder / "preprocessor_config.json")
        images = ImageProcessor(crop_size, patch_size, max_crops or stated or ImageProcessor.max_crops)
        return cls(Tokenizer(folder / "tokenizer.json"), images, context)

    def chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool | Mapping[str, Any] | Callable[..., Any]] = (),
        *,
        add_generation_prompt: bool = True,
    ) -> Prompt:
        """A conversation as a prompt, ready to be answered.

        raises  InputError for conversations, tools or media that can never work, or when the context is exceeded
        """
        pieces = render(messages, [as_tool(tool) for tool in tools], add_generation_prompt=add_generation_prompt)
        mark = {Image: Special.IMAGE, Audio: Special.AUDIO}
        ids = self.tokenizer.encode(mark[type(p)] if isinstance(p, (Image, Audio)) else p for p in pieces)
        images = [piece for piece in pieces if isinstance(piece, Image)]
        return self._expand(ids, images, [piece for piece in pieces if isinstance(piece, Audio)])

    def prompt(self, text: str, images: Sequence[Image] = (), audios: Sequence[Audio] = ()) -> Prompt:
        """A raw prompt in the published format, whose n-th image tag takes the n-th image, and likewise for audio.

        raises  InputError as `chat` does, and when marks and media do not match
        """
        marked = resolve_marks(text, self.tokenizer, len(images), len(audios))
        return self._expand(self.tokenizer.encode_prompt(marked), images, audios)

    def _expand(self, ids: Sequence[int], images: Sequence[Image], audios: Sequence[Audio]) -> Prompt:
        """Repeat each placeholder once a row of its encoder, in one pass over the ids."""
        _check_count("images", len(images), MAX_IMAGES)
        _check_count("audio clips", len(audios), MAX_AUDIOS)
        self._check_context(len(ids), "the text alone")
        media = {
            self.tokenizer.id(Special.IMAGE): self._crops(images),
            self.tokenizer.id(Special.AUDIO): self._frames(audios),
        }
        out: list[int] = []
        spans: list[MediaSpan] = []
        total = len(ids)
        for id in ids:
            if id not in media:
                out.append(id)
                continue
            data, length = next(media[id])
            total += length - 1
            self._check_context(total, "the prompt with its media")
            kind: Literal["image", "audio"] = "audio" if isinstance(data, AudioFrames) else "image"
            spans.append(MediaSpan(kind, len(out), length, media_digest(data), data))
            out.extend([id] * length)
        return Prompt(tuple(out), tuple(spans))

    def _crops(self, images: Sequence[Image]) -> Iterator[tuple[MediaData, int]]:
        limit = crop_limit(max(1, len(images)), self.images.max_crops)
        for number, image in enumerate(images, 1):
            try:
                crops = self.images(open_image(image), limit)
                yield crops, image_tokens(crops.side, *crops.valid)
            except InputError as error:
                raise InputError(f"image {number}: {error}") from error

    def _frames(self, audios: Sequence[Audio]) -> Iterator[tuple[MediaData, int]]:
        for number, audio in enumerate(audios, 1):
            try:
                samples, rate = open_audio(audio)
            except InputError as error:
                raise InputError(f"audio {number}: {error}") from error
            features = log_mel(samples, rate)
            yield AudioFrames(features, len(samples) / rate), audio_tokens(len(features))

    def _check_context(self, tokens: int, what: str) -> None:
        if tokens > self.context:
            raise InputError(
                f"{what} takes at least {tokens} tokens, the model's context holds {self.context}; "
                "shorten it, or give fewer or smaller media"
            )


def _check_count(what: str, count: int, most: int) -> None:
    if count > most:
        raise InputError(f"{count} {what} were given; a prompt holds at most {most}")


def media_digest(data: MediaData) -> bytes:
    """SHA-256 over kind, facts, shapes and bytes: for values of one kind, equal just when the encoder sees the same."""
    facts: tuple[object, ...] = ()
    if isinstance(data, ImageCrops):
        arrays: tuple[npt.NDArray[Any], ...] = (data.crops,)
        facts = (data.grid, data.valid, data.side)
    elif isinstance(data, ImageTiles):
        arrays, facts = (data.pixels, data.mask), (data.grid,)
    else:
        arrays = (data.features,)
    digest = hashlib.sha256(repr((type(data).__name__, facts, [array.shape for array in arrays])).encode())
    for array in arrays:
        digest.update(array.data)
    return digest.digest()


def _dynamic_hd(path: Path) -> int | None:
    if not path.exists():
        return None
    stated = read_json(path)
    for key, value in _FIXED.items():
        if stated.get(key, value) != value:
            raise ConfigError(f"{path}: {key} is {shown(stated[key])}; only {value} is known")
    crops = stated.get("dynamic_hd")
    if crops is not None and not is_integer(crops):
        raise ConfigError(f"{path}: dynamic_hd is {shown(crops)}; expected a whole number")
    return crops
